"""Sliced Wasserstein distance of local patches (Karras et al. 2018, arXiv 1710.10196, section 5).

As the progressive GAN's own code: at each level of a Laplacian pyramid, 128 random patches of 7 x 7
pixels an image; each side's patches are standardized per channel by its own mean and deviation; the
distance is the mean absolute difference of sorted projections on 4 x 128 random directions, times
1000. Levels are the image's side and its halves down to 16 pixels, as far as it halves evenly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from gan_bench.errors import DataError, require
from gan_bench.evaluation.features import chunks
from gan_bench.evaluation.metrics.base import Metric
from gan_bench.evaluation.statistics import Array, FeatureStatistics, Needs
from gan_bench.registry import METRICS

SMALLEST = 16
PATCH = 7
PATCHES = 128
DIRECTIONS = 4 * 128
_KERNEL = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16.0
_IMAGES_AT_ONCE = 256
_DIRECTIONS_AT_ONCE = 16


@METRICS.register(
    "sliced_wasserstein", aliases=("swd",), source="Karras et al. 2018, arXiv 1710.10196, section 5"
)
class SlicedWasserstein(Metric):
    """Distance of the distributions of image patches, by scale; lower is better.

    `swd_32` is that at 32 pixels, `swd` the mean over levels. No extractor takes part. Real images
    against real ones are not at 0: that is the floor to read it against. `swd_protocol` tells how
    many images were taken: as many of each side as the smaller has, at most `images`.
    """

    def __init__(self, *, images: int = 16_384) -> None:
        """Set it up.

        Args:
            images: Images of each side; the paper's number.
        """
        require(images >= 2, f"sliced_wasserstein images must be at least 2, not {images}")
        self.needs = Needs(images=images, real_images=images)

    def check(self, n_real: int | None, n_fake: int, shape: tuple[int, int, int] | None) -> None:
        """Refuse images without a level (DataError)."""
        if shape is not None:
            levels(shape[1], shape[2])

    def __call__(
        self,
        real: FeatureStatistics | None,
        fake: FeatureStatistics,
        rng: np.random.Generator,
    ) -> dict[str, Any]:
        """Return swd_<side> for each level, swd and swd_protocol; see `Metric`."""
        if real is None or real.images is None or fake.images is None:
            raise DataError("sliced_wasserstein needs real and generated images")
        count = min(len(real.images), len(fake.images), self.needs.images)
        sides = [each[:count] for each in (real.images, fake.images)]
        found = {}
        for level, side in enumerate(levels(*real.images.shape[2:])):
            patches = [_standardized(_patches(each, level, rng)) for each in sides]
            found[f"swd_{side}"] = 1000.0 * sliced_distance(patches[0], patches[1], rng)
        return {
            **found,
            "swd": float(np.mean(list(found.values()))),
            "swd_protocol": f"{count} images a side, {PATCHES} patches of {PATCH} x {PATCH} each",
        }


def levels(height: int, width: int) -> list[int]:
    """Return the sides of the pyramid's levels, the largest first.

    Raises:
        DataError: The images are smaller than 16 pixels.
    """
    side = min(height, width)
    if side < SMALLEST:
        raise DataError(
            f"sliced_wasserstein needs images of {SMALLEST} pixels or more, not {height} x {width}"
        )
    found = [side]
    while height % 2 == width % 2 == 0 and side // 2 >= SMALLEST:
        height, width, side = height // 2, width // 2, side // 2
        found.append(side)
    return found


def sliced_distance(first: Array, second: Array, rng: np.random.Generator) -> float:
    """Return the mean 1-Wasserstein distance of projections of two samples (n, d) of equal size."""
    directions = rng.standard_normal((first.shape[1], DIRECTIONS)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=0)
    total = 0.0
    for start in range(0, DIRECTIONS, _DIRECTIONS_AT_ONCE):
        part = directions[:, start : start + _DIRECTIONS_AT_ONCE].T
        one, two = (np.sort(part @ sample.T, axis=1) for sample in (first, second))
        total += float(np.abs(one - two).mean(axis=1, dtype=np.float64).sum())
    return total / DIRECTIONS


def laplacian(images: Tensor, level: int) -> Tensor:
    """Return a level of the Laplacian pyramid (0 the finest) of float images (N, C, H, W)."""
    for _ in range(level):
        images = _down(images)
    height, width = images.shape[2:]
    if len(levels(height, width)) == 1:  # the coarsest is what remains
        return images
    return images - _up(_down(images))


def _patches(images: Tensor, level: int, rng: np.random.Generator) -> Array:
    """Return random patches of a level, float32 (N * 128, C, 7 * 7)."""
    shape = len(images) * PATCHES, images.shape[1], PATCH * PATCH
    found = np.empty(shape, dtype=np.float32)
    done = 0
    for chunk in chunks(images, _IMAGES_AT_ONCE):
        pyramid = laplacian(chunk.to(torch.float32), level).cpu()
        windows = pyramid.unfold(2, PATCH, 1).unfold(3, PATCH, 1)
        which = torch.arange(len(chunk)).repeat_interleave(PATCHES)
        rows, columns = (
            torch.from_numpy(rng.integers(size, size=len(which))) for size in windows.shape[2:4]
        )
        found[done : done + len(which)] = windows[which, :, rows, columns].flatten(2).numpy()
        done += len(which)
    return found


def _standardized(patches: Array) -> Array:
    """Return patches (n, C, 49) as rows (n, C * 49), each channel of mean 0 and deviation 1.

    The array is changed in place, in blocks: there is room for no second one.
    """
    step = _IMAGES_AT_ONCE * PATCHES
    blocks = [patches[start : start + step] for start in range(0, len(patches), step)]
    values = len(patches) * patches.shape[2]
    shape = 1, patches.shape[1], 1
    mean = sum(part.sum(axis=(0, 2), dtype=np.float64) for part in blocks) / values
    for part in blocks:
        part -= mean.astype(np.float32).reshape(shape)
    deviation = np.sqrt(
        sum(np.square(part).sum(axis=(0, 2), dtype=np.float64) for part in blocks) / values
    )
    # a channel without any variation has none to scale
    deviation[deviation == 0] = 1.0
    for part in blocks:
        part /= deviation.astype(np.float32).reshape(shape)
    return patches.reshape(len(patches), -1)


def _down(images: Tensor) -> Tensor:
    return _smooth(images, 1.0)[:, :, ::2, ::2]


def _up(images: Tensor) -> Tensor:
    count, channels, height, width = images.shape
    spread = images.new_zeros(count, channels, 2 * height, 2 * width)
    spread[:, :, ::2, ::2] = images
    return _smooth(spread, 4.0)


def _smooth(images: Tensor, gain: float) -> Tensor:
    kernel = gain * torch.outer(_KERNEL, _KERNEL).to(images.device)
    kernel = kernel.expand(images.shape[1], 1, 5, 5)
    padded = functional.pad(images, (2, 2, 2, 2), mode="reflect")
    return functional.conv2d(padded, kernel, groups=images.shape[1])
