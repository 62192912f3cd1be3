"""Multi-scale structural similarity of pairs of generated images: high where modes collapse.

Sources: Wang et al. 2003 (the index); Odena et al. 2017, arXiv 1610.09585 (as a measure of
diversity); Karras et al. 2018, arXiv 1710.10196 (10 000 random pairs); compare_gan for images
smaller than the window: the 11-pixel Gaussian (sigma 1.5) is cut to the image at each scale, odd
sides are padded by repeating the last row or column before halving, scales are multiplied per
channel and channels averaged. Deviation: compare_gan takes 5 batches of 64 images, all pairs.

Below 16 pixels the five scales don't exist. Those that do, down to 2 pixels, are used with their
weights scaled to sum to 1, and the figure has another name: 8 pixels give `ms_ssim_3scale`.
Meaningful for sets of one class only: between classes, images differ anyway.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from gan_bench.errors import DataError, require
from gan_bench.evaluation.metrics.base import Metric
from gan_bench.evaluation.statistics import FeatureStatistics, Needs
from gan_bench.registry import METRICS

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW = 11
SIGMA = 1.5
_C1 = (0.01 * 255.0) ** 2
_C2 = (0.03 * 255.0) ** 2
# float64 values of one chunk of pairs, which bounds the memory
_CHUNK_VALUES = 2_000_000


@METRICS.register("ms_ssim", source="Wang et al. 2003; Odena et al. 2017, arXiv 1610.09585")
class MultiScaleSimilarity(Metric):
    """Mean MS-SSIM of random pairs of generated images; 0 to 1, lower is more diverse.

    `ms_ssim_protocol` tells scales, pairs and images used. No extractor takes part.
    """

    figures: tuple[str, ...] = ()

    def __init__(self, *, pairs: int = 10_000, max_images: int = 10_000) -> None:
        """Set it up.

        Args:
            pairs: Number of random pairs; all pairs once if there are no more than these.
            max_images: Most images kept to draw pairs from.
        """
        require(pairs >= 1, f"ms_ssim pairs must be at least 1, not {pairs}")
        require(max_images >= 2, f"ms_ssim max_images must be at least 2, not {max_images}")
        self.pairs = pairs
        self.needs = Needs(images=max_images)

    def __call__(
        self,
        real: FeatureStatistics | None,
        fake: FeatureStatistics,
        rng: np.random.Generator,
    ) -> dict[str, Any]:
        """Return ms_ssim (or ms_ssim_3scale and so on) and ms_ssim_protocol; see `Metric`."""
        if fake.images is None or len(fake.images) < 2:
            raise DataError("ms_ssim needs 2 images or more")
        images = fake.images
        scales = scale_count(min(images.shape[2:]))
        first, second = _draw(len(images), self.pairs, rng)
        step = max(1, _CHUNK_VALUES // int(np.prod(images.shape[1:])))
        total = 0.0
        for start in range(0, len(first), step):
            one, two = first[start : start + step], second[start : start + step]
            total += float(multi_scale_ssim(images[one], images[two]).sum())
        key = "ms_ssim" if scales == len(WEIGHTS) else f"ms_ssim_{scales}scale"
        return {
            key: total / len(first),
            "ms_ssim_protocol": (
                f"{scales} scales, window {WINDOW} cut to the image, sigma {SIGMA}, per channel, "
                f"{len(first)} pairs of {len(images)} images"
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
    """Return the MS-SSIM of pairs of images, in float64.

    Args:
        first: (N, C, H, W), values 0 to 255.
        second: Likewise.

    Returns:
        float64 (N,), in [0, 1].

    Raises:
        DataError: The images are smaller than 2 pixels.
    """
    first, second = first.to(torch.float64), second.to(torch.float64)
    scales = scale_count(min(first.shape[2:]))
    weights = np.array(WEIGHTS[:scales])
    weights /= weights.sum() if scales < len(WEIGHTS) else 1.0
    result = torch.ones(first.shape[:2], dtype=torch.float64)
    for scale in range(scales):
        if scale:
            first, second = _halve(first), _halve(second)
        similarity, contrast = _ssim(first, second)
        factor = similarity if scale == scales - 1 else contrast
        # a negative correlation has no real power: taken as 0
        result = result * factor.clamp(min=0.0) ** float(weights[scale])
    return result.mean(dim=1)


def _ssim(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return SSIM and its contrast-structure part, each averaged over positions: (N, C)."""
    height, width = first.shape[2:]
    size = min(WINDOW, height, width)
    rows, columns = _blur_matrix(height, size), _blur_matrix(width, size).T

    def blur(images: Tensor) -> Tensor:
        return rows @ images @ columns

    mean1, mean2 = blur(first), blur(second)
    cross = 2.0 * mean1 * mean2
    squares = mean1.square() + mean2.square()
    luminance = (cross + _C1) / (squares + _C1)
    contrast = (2.0 * blur(first * second) - cross + _C2) / (
        blur(first.square() + second.square()) - squares + _C2
    )
    return (luminance * contrast).mean(dim=(2, 3)), contrast.mean(dim=(2, 3))


def _blur_matrix(length: int, size: int) -> Tensor:
    """Return the matrix (length - size + 1, length) that slides a Gaussian over a row."""
    offsets = torch.arange(size, dtype=torch.float64) - (size - 1) / 2.0
    window = torch.softmax(-offsets.square() / (2.0 * SIGMA**2), dim=0)
    matrix = torch.zeros(length - size + 1, length, dtype=torch.float64)
    for row in range(len(matrix)):
        matrix[row, row : row + size] = window
    return matrix


def _halve(images: Tensor) -> Tensor:
    height, width = images.shape[2:]
    padded = functional.pad(images, (0, width % 2, 0, height % 2), mode="replicate")
    return functional.avg_pool2d(padded, 2)


def _draw(count: int, pairs: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Return positions of both partners: all pairs if there are few, else random ones."""
    if count * (count - 1) // 2 <= pairs:
        first, second = np.triu_indices(count, k=1)
    else:
        first = rng.integers(count, size=pairs)
        # a step of 1 to count - 1 round the circle never leads back to the image itself
        second = (first + rng.integers(1, count, size=pairs)) % count
    return torch.from_numpy(first), torch.from_numpy(second)
