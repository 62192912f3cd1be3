"""Inception score (Salimans et al. 2016, arXiv 1606.03498)."""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax

from gan_bench.errors import DataError, require
from gan_bench.evaluation.metrics.base import Metric
from gan_bench.evaluation.statistics import Array, FeatureStatistics, Needs
from gan_bench.registry import METRICS

MIN_PER_SPLIT = 10


@METRICS.register(
    "inception_score", aliases=("is",), source="Salimans et al. 2016, arXiv 1606.03498, section 4"
)
class InceptionScore(Metric):
    """exp of the mean divergence of each image's class prediction from their mean; 1 to K.

    With fewer than 10 images a split, all are one split, and the figure has another name:
    `is_mean_1split`.
    """

    needs = Needs(logits=True)
    figures = ("is_mean", "is_std", "is_mean_1split")

    def __init__(self, *, splits: int = 10) -> None:
        """Set it up.

        Args:
            splits: Number of equal parts of the images, over which mean and deviation are taken.
        """
        require(splits >= 1, f"inception_score splits must be at least 1, not {splits}")
        self.splits = splits

    def check(self, n_real: int | None, n_fake: int, shape: tuple[int, int, int] | None) -> None:
        """Refuse fewer than 2 generated images (DataError)."""
        if n_fake < 2:
            raise DataError(f"the inception score needs 2 generated images or more, not {n_fake}")

    def __call__(
        self,
        real: FeatureStatistics | None,
        fake: FeatureStatistics,
        rng: np.random.Generator,
    ) -> dict[str, float]:
        """Return is_mean, is_std (population deviation over splits) and is_splits.

        Of fewer than 10 images a split: is_mean_1split and is_splits.
        """
        if fake.logits is None:
            raise DataError("the inception score needs the logits of generated images")
        self.check(None, len(fake.logits), None)
        count = len(fake.logits)
        # images may come sorted by class, which would make each split a class
        logits = fake.logits[rng.permutation(count)]
        if count < MIN_PER_SPLIT * self.splits:
            return {"is_mean_1split": _score(logits), "is_splits": 1}
        scores = [
            _score(logits[part * count // self.splits : (part + 1) * count // self.splits])
            for part in range(self.splits)
        ]
        return {
            "is_mean": float(np.mean(scores)),
            "is_std": float(np.std(scores)),
            "is_splits": self.splits,
        }


def _score(logits: Array) -> float:
    log_p = log_softmax(logits.astype(np.float64), axis=1)
    p = np.exp(log_p)
    marginal = p.mean(axis=0)
    # where no image gives a class any probability, its term is 0 log 0 = 0
    log_marginal = np.log(np.where(marginal > 0, marginal, 1.0))
    divergence = np.where(p > 0, p * (log_p - log_marginal), 0.0).sum(axis=1)
    return float(np.exp(divergence.mean()))
