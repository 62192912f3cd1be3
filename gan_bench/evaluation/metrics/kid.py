"""Kernel Inception distance (Bińkowski et al. 2018, arXiv 1801.01401)."""

from __future__ import annotations

import numpy as np

from gan_bench.errors import DataError, require
from gan_bench.evaluation.metrics.base import Metric, both_features
from gan_bench.evaluation.statistics import Array, FeatureStatistics, Needs
from gan_bench.registry import METRICS


@METRICS.register("kid", source="Bińkowski et al. 2018, arXiv 1801.01401, section 4")
class KernelDistance(Metric):
    """Unbiased squared MMD under the kernel (x.y/d + 1)^3, over random subsets; lower is better.

    Unbiased, so it can be slightly below 0. A subset is at most half of the smaller side:
    subsets that are the whole side would all be the same, and their deviation a false 0. The
    size used is `kid_subset_size`.
    """

    needs = Needs(features=True)
    figures = ("kid_mean", "kid_std")

    def __init__(self, *, subsets: int = 100, subset_size: int = 1000, degree: int = 3) -> None:
        """Set it up.

        Args:
            subsets: Number of random subsets that are averaged.
            subset_size: Images of each side in a subset, where there are twice as many.
            degree: Of the polynomial kernel.
        """
        require(subsets >= 1, f"kid subsets must be at least 1, not {subsets}")
        require(subset_size >= 2, f"kid subset_size must be at least 2, not {subset_size}")
        require(degree >= 1, f"kid degree must be at least 1, not {degree}")
        self.subsets = subsets
        self.subset_size = subset_size
        self.degree = degree

    def __call__(
        self,
        real: FeatureStatistics | None,
        fake: FeatureStatistics,
        rng: np.random.Generator,
    ) -> dict[str, float]:
        """Return kid_mean, kid_std (population deviation over subsets) and kid_subset_size."""
        x, y = both_features(real, fake)
        size = min(self.subset_size, len(x) // 2, len(y) // 2)
        if size < 2:
            raise DataError(f"kid needs 4 images a side or more, not {len(x)} and {len(y)}")
        values = [
            squared_mmd(
                x[rng.choice(len(x), size, replace=False)],
                y[rng.choice(len(y), size, replace=False)],
                degree=self.degree,
            )
            for _ in range(self.subsets)
        ]
        return {
            "kid_mean": float(np.mean(values)),
            "kid_std": float(np.std(values)),
            "kid_subset_size": size,
        }


def squared_mmd(x: Array, y: Array, *, degree: int = 3) -> float:
    """Return the unbiased estimate of the squared MMD of two samples (n, d) and (m, d).

    Source: Gretton et al. 2012, eq. 3, with the kernel (x.y/d + 1)^degree.
    """
    dim = x.shape[1]
    n, m = len(x), len(y)
    within_x = (x @ x.T / dim + 1.0) ** degree
    within_y = (y @ y.T / dim + 1.0) ** degree
    between = (x @ y.T / dim + 1.0) ** degree
    # the unbiased estimate leaves out each image's kernel with itself
    sum_x = within_x.sum() - np.trace(within_x)
    sum_y = within_y.sum() - np.trace(within_y)
    return float(sum_x / (n * (n - 1)) + sum_y / (m * (m - 1)) - 2.0 * between.mean())
