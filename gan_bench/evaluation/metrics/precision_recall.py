"""Improved precision and recall (Kynkäänniemi et al. 2019, arXiv 1904.06991)."""

from __future__ import annotations

import numpy as np
import torch

from gan_bench.errors import require
from gan_bench.evaluation.metrics.base import Metric, both_features
from gan_bench.evaluation.metrics.neighbours import blocks, centred, radii, require_neighbours
from gan_bench.evaluation.statistics import FeatureStatistics, Needs
from gan_bench.registry import METRICS


@METRICS.register(
    "precision_recall", source="Kynkäänniemi et al. 2019, arXiv 1904.06991, section 2"
)
class PrecisionRecall(Metric):
    """Shares of generated images near real ones, and of real near generated ones; 0 to 1.

    "Near" is within the distance of some image of the other side to its k-th neighbour there.
    """

    needs = Needs(features=True)
    figures = ("precision", "recall")

    def __init__(self, *, k: int = 3) -> None:
        """Set it up.

        Args:
            k: Which neighbour gives an image's radius.
        """
        require(k >= 1, f"precision_recall k must be at least 1, not {k}")
        self.k = k

    def check(self, n_real: int | None, n_fake: int, shape: tuple[int, int, int] | None) -> None:
        """Refuse fewer than k + 1 images a side (DataError)."""
        require_neighbours("precision_recall", self.k, n_real, n_fake)

    def __call__(
        self,
        real: FeatureStatistics | None,
        fake: FeatureStatistics,
        rng: np.random.Generator,
    ) -> dict[str, float]:
        """Return precision and recall; see `Metric`."""
        features = both_features(real, fake)
        require_neighbours("precision_recall", self.k, *map(len, features))
        x, y = centred(*features)
        real_radii, fake_radii = radii(x, self.k), radii(y, self.k)
        precise = torch.zeros(len(y), dtype=torch.bool)
        recalled = []
        for rows, squares in blocks(x, y):
            precise |= (squares <= real_radii[rows, None]).any(dim=0)
            recalled.append((squares <= fake_radii).any(dim=1))
        return {
            "precision": float(precise.double().mean()),
            "recall": float(torch.cat(recalled).double().mean()),
        }
