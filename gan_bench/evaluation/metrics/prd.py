"""Precision and recall for distributions (Sajjadi et al. 2018, arXiv 1806.00035)."""

from __future__ import annotations

import numpy as np

from gan_bench.errors import DataError, require
from gan_bench.evaluation.metrics.base import Metric, both_features
from gan_bench.evaluation.statistics import Array, FeatureStatistics, Needs
from gan_bench.registry import METRICS

_ANGLES = 1001
_BETA = 8.0
_EPSILON = 1e-10


@METRICS.register("prd", source="Sajjadi et al. 2018, arXiv 1806.00035, algorithm 1")
class PrecisionRecallDistributions(Metric):
    """F_8 (weighs recall) and F_1/8 (weighs precision) of the PRD curve; 0 to 1.

    The curve compares histograms over clusters of both sides' features, as the authors' code does:
    MiniBatchKMeans, 1001 angles, averaged over runs. Both sides count equally: of the larger one,
    a random part is taken.
    """

    needs = Needs(features=True)
    figures = ("prd_f8", "prd_f1_8")

    def __init__(self, *, clusters: int = 20, runs: int = 10) -> None:
        """Set it up.

        Args:
            clusters: Number of clusters.
            runs: Clusterings whose curves are averaged.
        """
        require(clusters >= 2, f"prd clusters must be at least 2, not {clusters}")
        require(runs >= 1, f"prd runs must be at least 1, not {runs}")
        self.clusters = clusters
        self.runs = runs

    def check(self, n_real: int | None, n_fake: int, shape: tuple[int, int, int] | None) -> None:
        """Refuse fewer images a side than clusters (DataError)."""
        fewest = n_fake if n_real is None else min(n_real, n_fake)
        if fewest < self.clusters:
            raise DataError(
                f"prd with {self.clusters} clusters needs as many images a side or more, not "
                f"{n_real} and {n_fake}"
            )

    def __call__(
        self,
        real: FeatureStatistics | None,
        fake: FeatureStatistics,
        rng: np.random.Generator,
    ) -> dict[str, float]:
        """Return prd_f8 and prd_f1_8; see `Metric`."""
        x, y = both_features(real, fake)
        self.check(len(x), len(y), None)
        size = min(len(x), len(y))
        x, y = (
            side if len(side) == size else side[rng.choice(len(side), size, replace=False)]
            for side in (x, y)
        )
        curves = [prd_curve(*self._histograms(x, y, rng)) for _ in range(self.runs)]
        precision, recall = np.mean(curves, axis=0)
        return {
            "prd_f8": float(f_beta(precision, recall, _BETA).max()),
            "prd_f1_8": float(f_beta(precision, recall, 1.0 / _BETA).max()),
        }

    def _histograms(self, x: Array, y: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        from sklearn.cluster import MiniBatchKMeans

        found = MiniBatchKMeans(
            n_clusters=self.clusters, n_init=10, random_state=int(rng.integers(2**31))
        ).fit_predict(np.concatenate([x, y]))
        first, second = (
            np.bincount(labels, minlength=self.clusters) / len(labels)
            for labels in (found[: len(x)], found[len(x) :])
        )
        return first, second


def prd_curve(reference: Array, evaluated: Array) -> Array:
    """Return precision and recall (2, 1001) of two histograms, each of sum 1.

    At slope s: precision = sum min(s p, q), recall = precision / s (eq. 4 of the paper).
    """
    angles = np.linspace(_EPSILON, np.pi / 2 - _EPSILON, _ANGLES)
    slopes = np.tan(angles)[:, None]
    precision = np.minimum(slopes * reference, evaluated).sum(axis=1)
    return np.asarray(np.stack([precision, precision / slopes[:, 0]]).clip(0.0, 1.0))


def f_beta(precision: Array, recall: Array, beta: float) -> Array:
    """Return (1 + b^2) p r / (b^2 p + r), with 0 where both are 0."""
    both = beta**2 * precision + recall + _EPSILON
    return np.asarray((1 + beta**2) * precision * recall / both)
