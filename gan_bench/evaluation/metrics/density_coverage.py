"""Density and coverage (Naeem et al. 2020, arXiv 2002.09797)."""

from __future__ import annotations

import numpy as np
import torch

from gan_bench.errors import require
from gan_bench.evaluation.metrics.base import Metric, both_features
from gan_bench.evaluation.metrics.neighbours import blocks, centred, radii, require_neighbours
from gan_bench.evaluation.statistics import FeatureStatistics, Needs
from gan_bench.registry import METRICS


@METRICS.register("density_coverage", source="Naeem et al. 2020, arXiv 2002.09797, eq. 4 and 5")
class DensityCoverage(Metric):
    """How many real neighbourhoods a generated image lies in, and how many hold one at all.

    Density is about 1 for the real distribution, and can exceed it; coverage is 0 to 1. Unlike
    precision and recall, an outlier among the generated images cannot raise them.
    """

    needs = Needs(features=True)
    figures = ("density", "coverage")

    def __init__(self, *, k: int = 5) -> None:
        """Set it up.

        Args:
            k: Which neighbour gives a real image's radius.
        """
        require(k >= 1, f"density_coverage k must be at least 1, not {k}")
        self.k = k

    def check(self, n_real: int | None, n_fake: int, shape: tuple[int, int, int] | None) -> None:
        """Refuse fewer than k + 1 images a side (DataError)."""
        require_neighbours("density_coverage", self.k, n_real, n_fake)

    def __call__(
        self,
        real: FeatureStatistics | None,
        fake: FeatureStatistics,
        rng: np.random.Generator,
    ) -> dict[str, float]:
        """Return density and coverage; see `Metric`."""
        features = both_features(real, fake)
        require_neighbours("density_coverage", self.k, *map(len, features))
        x, y = centred(*features)
        real_radii = radii(x, self.k)
        inside = 0
        covered = []
        for rows, squares in blocks(x, y):
            within = squares < real_radii[rows, None]
            inside += int(within.sum())
            covered.append(within.any(dim=1))
        return {
            "density": inside / (self.k * len(y)),
            "coverage": float(torch.cat(covered).double().mean()),
        }
