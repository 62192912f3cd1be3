"""Whether D has learnt its training images by heart: its accuracy on those, on others, on fakes.

Source: compare_gan's accuracy metric; the gap between training and held-out images as evidence of
overfitting is discussed by Brock et al. 2019 (arXiv 1809.11096, section 4.2).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from gan_bench.config import Config
from gan_bench.data.pixels import to_float
from gan_bench.evaluation.draws import Draws
from gan_bench.evaluation.features import chunks
from gan_bench.interfaces import Dataset
from gan_bench.registry import LOSSES
from gan_bench.samples import generate
from gan_bench.training.trainer import draw_latents


@torch.inference_mode()
def discriminator_accuracy(
    discriminator: nn.Module,
    generator: nn.Module,
    config: Config,
    dataset: Dataset,
    device: torch.device,
) -> dict[str, float]:
    """Return D's accuracy on training, held-out and generated images.

    Args:
        discriminator: On `device`; it is put into evaluation mode for this.
        generator: In evaluation mode on `device`.
        config: The run's; `evaluator` says how many images (fewer if there are fewer) and the seed.
        dataset: Its data; "test" is held out.
        device: Where the networks are.

    Returns:
        `d_accuracy_train` and `d_accuracy_test`, the shares of real images that D takes for real;
        `d_accuracy_fake`, that of generated ones that it takes for generated. Empty for a loss
        whose D decides nothing (wasserstein).
    """
    boundary = getattr(LOSSES.from_config(config.loss), "boundary", 0.0)
    if boundary is None:
        warnings.warn(
            f"loss {config.loss['name']} has a critic, which takes nothing for real: its accuracy "
            "is left out",
            stacklevel=2,
        )
        return {}
    wanted, size = config.evaluator.n_fake, config.evaluator.batch_size
    draws = Draws(config.evaluator.seed)
    training = discriminator.training
    discriminator.eval()

    def share_above(batches: Iterable[Tensor]) -> float:
        above = [discriminator(images.to(device)).float() > boundary for images in batches]
        return float(torch.cat(above).double().mean())

    found = {}
    for name in ("train", "test"):
        split = dataset.split(name)
        chosen = draws.choose(len(split), min(wanted, len(split)), f"accuracy {name}")
        parts = chunks(torch.from_numpy(chosen), size)
        found[f"d_accuracy_{name}"] = share_above(to_float(split.images(part)) for part in parts)
    rng = torch.Generator().manual_seed(config.evaluator.seed)
    latents = draw_latents(config, wanted, torch.device("cpu"), rng)
    fakes = (generate(generator, z.to(device)) for z in chunks(latents, size))
    found["d_accuracy_fake"] = 1.0 - share_above(fakes)
    discriminator.train(training)
    return found
