"""Multi-scale structural similarity of pairs of generated images: high where modes collapse.

Sources: Wang et al. 2003 (the index); Odena et al. 2017, arXiv 1610.09585 (as a measure of
diversity); Karras et al. 2018, arXiv 1710.10196 (10 000 random pairs); compare_gan (all pairs of 5
batches of 64; and the rule for images smaller than the window: the 11-pixel Gaussian, sigma 1.5, is
cut to the image at each scale, odd sides are padded by repeating the last row or column before
halving, scales are multiplied per channel and channels averaged).

Below 16 pixels the five scales don't exist. Those that do, down to 2 pixels, are used with their
weights scaled to sum to 1, and the figure has another name: 8 pixels give `ms_ssim_3scale`.
Meaningful for sets of one class only: between classes, images differ anyway.

The arithmetic is float32 about each image's own mean, which changes no variance or covariance:
within 1e-6 of float64 on photographs and noise, 1e-4 where black areas meet white ones.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from gan_bench.errors import DataError, require, unknown
from gan_bench.evaluation.features import chunks
from gan_bench.evaluation.metrics.base import Metric
from gan_bench.evaluation.statistics import FeatureStatistics, Needs
from gan_bench.precision import full_float32
from gan_bench.registry import METRICS

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW = 11
SIGMA = 1.5
PAIRINGS = ("random", "batches")
BATCHES, BATCH_IMAGES = 5, 64
_C1 = (0.01 * 255.0) ** 2
_C2 = (0.03 * 255.0) ** 2
# values of one chunk of pairs: what caches hold
_CHUNK_VALUES = 800_000
# places that one matrix blurs: that of a whole side would be zeros mostly
_BAND = 48


@METRICS.register("ms_ssim", source="Wang et al. 2003; Odena et al. 2017, arXiv 1610.09585")
class MultiScaleSimilarity(Metric):
    """Mean MS-SSIM of pairs of generated images; 0 to 1, lower is more diverse.

    Pairs are random ones, or all within compare_gan's batches; never an image with itself.
    `ms_ssim_protocol` tells scales, pairs and images used. No extractor takes part.
    """

    def __init__(
        self, *, pairing: str = "random", pairs: int = 10_000, max_images: int = 10_000
    ) -> None:
        """Set it up.

        Args:
            pairing: "random", or "batches": all pairs of 5 batches of 64 images.
            pairs: Number of random pairs; all pairs once if there are no more than these.
            max_images: Most images kept to draw random pairs from.
        """
        if pairing not in PAIRINGS:
            raise unknown("ms_ssim pairing", pairing, PAIRINGS)
        require(pairs >= 1, f"ms_ssim pairs must be at least 1, not {pairs}")
        require(max_images >= 2, f"ms_ssim max_images must be at least 2, not {max_images}")
        self.pairing = pairing
        self.pairs = pairs
        self.needs = Needs(images=max_images if pairing == "random" else BATCHES * BATCH_IMAGES)

    def check(self, n_real: int | None, n_fake: int, shape: tuple[int, int, int] | None) -> None:
        """Refuse too few or too small images (DataError)."""
        fewest = 2 if self.pairing == "random" else BATCHES * BATCH_IMAGES
        if n_fake < fewest:
            raise DataError(
                f"ms_ssim with pairing={self.pairing} needs {fewest} images or more, not {n_fake}"
            )
        if shape is not None:
            scale_count(min(shape[1:]))

    def __call__(
        self,
        real: FeatureStatistics | None,
        fake: FeatureStatistics,
        rng: np.random.Generator,
    ) -> dict[str, Any]:
        """Return ms_ssim (or ms_ssim_3scale and so on) and ms_ssim_protocol; see `Metric`."""
        images = fake.images
        self.check(None, 0 if images is None else len(images), None)
        assert images is not None
        scales = scale_count(min(images.shape[2:]))
        chosen = torch.arange(min(len(images), self.needs.images))
        with full_float32(images.device):
            if self.pairing == "batches":
                parts = chosen.view(BATCHES, BATCH_IMAGES)
                similarity = torch.cat([_all_pairs(images[part]) for part in parts])
            elif len(chosen) * (len(chosen) - 1) // 2 <= self.pairs:
                similarity = _all_pairs(images[chosen])
            else:
                similarity = _random_pairs(images, chosen, self.pairs, rng)
        key = "ms_ssim" if scales == len(WEIGHTS) else f"ms_ssim_{scales}scale"
        return {
            key: float(similarity.mean()),
            "ms_ssim_protocol": (
                f"{scales} scales, window {WINDOW} cut to the image, sigma {SIGMA}, per channel, "
                f"{len(similarity)} pairs of {len(chosen)} images"
                + (f" in {BATCHES} batches" if self.pairing == "batches" else "")
            ),
        }


def scale_count(side: int) -> int:
    """Return how many scales images of a side have: 5 from 16 pixels on, else those >= 2 pixels.

    Raises:
        DataError: The images are smaller than 2 pixels.
    """
    if side >= 16:
        return len(WEIGHTS)
    if side < 2:
        raise DataError("ms_ssim needs images of 2 pixels or more")
    scales = 0
    while side >= 2 and scales < len(WEIGHTS) - 1:
        scales += 1
        side = (side + 1) // 2
    return scales


def multi_scale_ssim(first: Tensor, second: Tensor) -> Tensor:
    """Return the MS-SSIM of pairs of images.

    Args:
        first: (N, C, H, W), values 0 to 255.
        second: Likewise.

    Returns:
        float64 (N,), in [0, 1].

    Raises:
        DataError: The images are smaller than 2 pixels.
    """
    return _similarity(_pyramid(first), _pyramid(second))


class _Scale(NamedTuple):
    """Images at one scale, each about its own mean, with what a comparison needs of each alone."""

    images: Tensor
    """(N, C, H, W)."""
    mean: Tensor
    """Blurred images."""
    spread: Tensor
    """Half the variance, with half of an image's share of the constant C2."""
    level: Tensor
    """What was subtracted, (N, C, 1, 1)."""


def _pyramid(images: Tensor) -> list[_Scale]:
    scales = scale_count(min(images.shape[2:]))
    images = images.to(torch.float32)
    # whole numbers, so that subtracting them from uint8 values is exact
    level = images.mean(dim=(2, 3), keepdim=True).round()
    images = images - level
    found = []
    for scale in range(scales):
        if scale:
            images = _halve(images)
        mean = _blur(images)
        spread = _blur(images * images).addcmul_(mean, mean, value=-1.0)
        found.append(_Scale(images, mean, spread.mul_(0.5).add_(_C2 / 4.0), level))
    return found


def _similarity(first: Iterable[_Scale], second: Iterable[_Scale]) -> Tensor:
    """Return the MS-SSIM (N,) of images whose pyramids fit or broadcast."""
    pairs = list(zip(first, second, strict=True))
    weights = np.array(WEIGHTS[: len(pairs)])
    weights /= weights.sum() if len(pairs) < len(WEIGHTS) else 1.0
    result: Tensor | None = None
    for scale, (one, two) in enumerate(pairs):
        factor = _blur(one.images * two.images).addcmul_(one.mean, two.mean, value=-1.0)
        factor.add_(_C2 / 2.0).div_(one.spread + two.spread)
        if scale == len(pairs) - 1:
            means = one.mean + one.level, two.mean + two.level
            factor *= (2.0 * means[0] * means[1] + _C1) / (
                means[0].square() + means[1].square() + _C1
            )
        # a negative correlation has no real power: taken as 0
        power = factor.mean(dim=(2, 3)).double().clamp(min=0.0) ** float(weights[scale])
        result = power if result is None else result * power
    assert result is not None
    return result.mean(dim=1)


def _all_pairs(images: Tensor) -> Tensor:
    """Return the similarity of each image with each later one; all blurs of single images once."""
    pyramid = _pyramid(images)
    step = _chunk(images)
    found = []
    for index in range(len(images) - 1):
        one = [_Scale(*(part[index : index + 1] for part in scale)) for scale in pyramid]
        for start in range(index + 1, len(images), step):
            others = slice(start, start + step)
            found.append(
                _similarity(one, (_Scale(*(part[others] for part in scale)) for scale in pyramid))
            )
    return torch.cat(found)


def _random_pairs(images: Tensor, chosen: Tensor, pairs: int, rng: np.random.Generator) -> Tensor:
    first = rng.integers(len(chosen), size=pairs)
    # a step of 1 to count - 1 round the circle never leads back to the image itself
    second = (first + rng.integers(1, len(chosen), size=pairs)) % len(chosen)
    found = [
        multi_scale_ssim(images[chosen[one]], images[chosen[two]])
        for one, two in zip(
            *(chunks(torch.from_numpy(each), _chunk(images)) for each in (first, second)),
            strict=True,
        )
    ]
    return torch.cat(found)


def _chunk(images: Tensor) -> int:
    return max(1, _CHUNK_VALUES // int(np.prod(images.shape[1:])))


def _blur(images: Tensor) -> Tensor:
    """Return what a Gaussian window sees at each place where it fits."""
    count, channels, height, width = images.shape
    size = min(WINDOW, height, width)
    planes = images.flatten(0, 1)
    rows = planes.new_empty(len(planes), height - size + 1, width)
    for start, band in _bands(height, size, images.device):
        source = planes[:, start : start + band.shape[1]]
        target = rows[:, start : start + len(band)]
        torch.bmm(band.expand(len(planes), -1, -1), source, out=target)
    lines = rows.flatten(0, 1)
    found = lines.new_empty(len(lines), width - size + 1)
    for start, band in _bands(width, size, images.device):
        source = lines[:, start : start + band.shape[1]]
        torch.mm(source, band.T, out=found[:, start : start + len(band)])
    return found.view(count, channels, height - size + 1, width - size + 1)


@functools.lru_cache(maxsize=64)
def _bands(length: int, size: int, device: torch.device) -> list[tuple[int, Tensor]]:
    """Return starts and matrices (n, n + size - 1), which slide a Gaussian along n places each."""
    offsets = torch.arange(size, dtype=torch.float64) - (size - 1) / 2.0
    window = torch.softmax(-offsets.square() / (2.0 * SIGMA**2), dim=0)
    found = []
    for start in range(0, length - size + 1, _BAND):
        places = min(_BAND, length - size + 1 - start)
        band = torch.zeros(places, places + size - 1, dtype=torch.float64)
        for row in range(places):
            band[row, row : row + size] = window
        found.append((start, band.to(device, torch.float32)))
    return found


def _halve(images: Tensor) -> Tensor:
    height, width = images.shape[2:]
    padded = functional.pad(images, (0, width % 2, 0, height % 2), mode="replicate")
    return functional.avg_pool2d(padded, 2)
