"""Images from a generator: a sampler for the evaluator, and the fixed latent grid."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.utils import make_grid

from gan_bench import files
from gan_bench.config import Config
from gan_bench.data.pixels import to_uint8
from gan_bench.training.trainer import DivergedError, draw_latents

GRID_IMAGES = 64
_GRID_SIDE = 512
"""Smaller grids are enlarged (by a whole factor, without smoothing) up to about this width."""


class LatentSampler:
    """Draws the images that are evaluated: `sampler(n)` gives the next n.

    The latents are the evaluator's n_fake, drawn at once from its seed on the CPU: they depend on
    neither the device nor the batch size.
    """

    def __init__(self, generator: nn.Module, config: Config, device: torch.device) -> None:
        """Draw the latents; `generator` is in evaluation mode on `device`."""
        rng = torch.Generator().manual_seed(config.evaluator.seed)
        self._generator = generator
        self._device = device
        self._latents = draw_latents(config, config.evaluator.n_fake, torch.device("cpu"), rng)
        self._drawn = 0

    def __call__(self, n: int) -> Tensor:
        """Return the next n images, uint8 (n, C, H, W) on the CPU."""
        z = self._latents[self._drawn : self._drawn + n]
        self._drawn += n
        return draw(self._generator, z.to(self._device))


@torch.inference_mode()
def draw(generator: nn.Module, latents: Tensor) -> Tensor:
    """Return a generator's images for latents (N, latent_dim), uint8 (N, C, H, W) on the CPU.

    Raises:
        DivergedError: A pixel is NaN or infinite.
    """
    images = generator(latents)
    if not torch.isfinite(images).all():
        raise DivergedError("the generator's images became NaN or infinite")
    return to_uint8(images).cpu()


def write_grid(generator: nn.Module, config: Config, device: torch.device, path: Path) -> None:
    """Write the grid of images for the run's fixed latents as PNG.

    Args:
        generator: In evaluation mode, on `device`.
        config: The run's config; its seed fixes the latents.
        device: Where the generator is.
        path: The file.

    Raises:
        StorageError: It can't be written.
    """
    rng = torch.Generator().manual_seed(config.seed)
    latents = draw_latents(config, GRID_IMAGES, device, rng)
    images = draw(generator, latents)
    files.write_atomic(path, lambda stream: grid(images).save(stream, format="PNG"))


def grid(images: Tensor) -> Image.Image:
    """Lay images, uint8 (N, C, H, W), out in a square grid."""
    columns = math.ceil(math.sqrt(len(images)))
    sheet = make_grid(images, nrow=columns, padding=1, pad_value=128)
    picture = Image.fromarray(sheet.permute(1, 2, 0).contiguous().numpy())
    factor = max(1, round(_GRID_SIDE / picture.width))
    return picture.resize(
        (picture.width * factor, picture.height * factor), Image.Resampling.NEAREST
    )
