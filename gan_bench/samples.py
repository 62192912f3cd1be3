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
from gan_bench.precision import full_float32
from gan_bench.training.trainer import DivergedError, draw_latents

GRID_IMAGES = 64
_GRID_SIDE = 512
"""Smaller grids are enlarged (by a whole factor, without smoothing) up to about this width."""


class LatentSampler:
    """Draws the images that are evaluated: `sampler(n)` gives the next n.

    The latents of a sample set, the evaluator's n_fake, are drawn at once on the CPU from its seed
    and the set's number: they depend on neither the device nor the batch size, and another
    generator with latents of this size gets the same. Batches must end with the set.
    """

    def __init__(self, generator: nn.Module, config: Config, device: torch.device) -> None:
        """Sample from `generator`, in evaluation mode on `device`."""
        self._generator = generator
        self._config = config
        self._device = device
        self._latents = torch.empty(0)
        self._set = 0

    def __call__(self, n: int) -> Tensor:
        """Return the next n images on the CPU: uint8 (n, C, H, W), or float32 from 0 to 255."""
        if not len(self._latents):
            self._latents = self._draw_set()
        z, self._latents = self._latents[:n], self._latents[n:]
        images = generate(self._generator, z.to(self._device))
        if self._config.evaluator.quantize:
            return to_uint8(images).cpu()
        return images.float().add(1.0).mul(127.5).clamp(0.0, 255.0).cpu()

    def _draw_set(self) -> Tensor:
        evaluator = self._config.evaluator
        # far apart, so that another evaluator's seed gives no set of this one's
        rng = torch.Generator().manual_seed(evaluator.seed + self._set * 1_000_003)
        self._set += 1
        return draw_latents(self._config, evaluator.n_fake, torch.device("cpu"), rng)


@torch.inference_mode()
def generate(generator: nn.Module, latents: Tensor) -> Tensor:
    """Return a generator's images (N, C, H, W) in [-1, 1] for latents (N, latent_dim).

    Raises:
        DivergedError: A pixel is NaN or infinite.
    """
    with full_float32(latents.device):
        images: Tensor = generator(latents)
    if not torch.isfinite(images).all():
        raise DivergedError("the generator's images became NaN or infinite")
    return images


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
    images = to_uint8(generate(generator, latents)).cpu()
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
