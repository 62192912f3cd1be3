"""The fractal (correlation) dimension of the generated images, as compare_gan estimates it.

compare_gan, `metrics/fractal_dimension.py`, which cites no paper; the dimension is Grassberger and
Procaccia's (1983, Physica D 9:189). N(r) counts the images closer than r to any of some centres,
which are images themselves; the figure is the slope of log N(r) against log r, by least squares
over the middle fifth of the range of log N. It does not depend on the images' scale.

Deviations: the centres are the first of the images, which are independent draws, and so never the
same one twice. Images are single-channel where the data are: compare_gan repeats the channel three
times, which scales all distances alike.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gan_bench.analyses.base import Analysis, AnalysisContext
from gan_bench.errors import DataError, require
from gan_bench.registry import ANALYSES

_RADII = 1000
_HALF_WINDOW = 0.1
"""The line is fitted where log N is within this share of its range around the middle."""


@ANALYSES.register("fractal_dimension", source="compare_gan; Grassberger & Procaccia 1983")
class FractalDimension(Analysis):
    """Correlation dimension of the generated images in pixel space."""

    def __init__(self, *, images: int = 10_000, centres: int = 100) -> None:
        """Set it up.

        Args:
            images: Generated images; the figure grows with their number.
            centres: How many of them distances are measured from.

        Raises:
            ConfigError: There are no centres, or not more images than centres.
        """
        require(
            1 <= centres < images,
            f"fractal_dimension: {centres} centres of {images} images; use 1 or more centres, "
            "and more images than centres",
        )
        self.images, self.centres = images, centres

    @torch.inference_mode()
    def __call__(self, context: AnalysisContext) -> dict[str, Any]:
        """Return the dimension.

        Raises:
            DataError: The images are too alike to have one.
        """
        centres = context.generator(context.latents(self.centres)).flatten(1)
        distances = [_distances(centres, centres)]
        for z in context.latent_batches(self.images - self.centres):
            distances.append(_distances(context.generator(z).flatten(1), centres))
        return {"fractal_dimension": dimension(np.concatenate(distances))}


def _distances(images: torch.Tensor, centres: torch.Tensor) -> NDArray[np.float64]:
    """Return Euclidean distances (images, centres); not by inner products, which cancel."""
    found = torch.cdist(images, centres, compute_mode="donot_use_mm_for_euclid_dist")
    return found.cpu().double().numpy()


def dimension(distances: NDArray[np.float64]) -> float:
    """Estimate the dimension of a set of points.

    Args:
        distances: From each point to each centre, (points, centres); centres are points.

    Raises:
        DataError: Too few of the distances differ for a slope.
    """
    points, centres = distances.shape
    ordered = np.sort(distances, axis=None)
    positive = ordered[ordered > 0]
    if not len(positive):
        raise DataError("the generated images are all equal: they have no fractal dimension")
    radii = np.geomspace(positive[0], positive[-1], _RADII)[1:]
    x = np.log(radii)
    y = np.log(np.searchsorted(ordered, radii, side="left"))
    middle = math.log(centres) + 0.5 * math.log(points)
    reach = _HALF_WINDOW * math.log(points)
    start, end = (int(np.argmax(y > edge)) for edge in (middle - reach, middle + reach))
    if end - start < 2:
        raise DataError(
            "the generated images lie in tight groups with nothing between: they have no fractal "
            "dimension; the generator has probably collapsed to a few images"
        )
    return float(np.polyfit(x[start:end], y[start:end], 1)[0])
