"""Inception score (Salimans et al. 2016, arXiv 1606.03498)."""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax

from gan_bench.errors import DataError, require
from gan_bench.evaluation.metrics.base import Metric
from gan_bench.evaluation.statistics import FeatureStatistics, Needs
from gan_bench.registry import METRICS

MIN_PER_SPLIT = 10


@METRICS.register(
    "inception_score", aliases=("is",), source="Salimans et al. 2016, arXiv 1606.03498, section 4"
)
class InceptionScore(Metric):
    """exp of the mean divergence of each image's class prediction from their mean; 1 to K.

    With fewer than 10 images a split, all images are one split; `is_splits` tells.
    """

    needs = Needs(logits=True)
    figures = ("is_mean", "is_std")

    def __init__(self, *, splits: int = 10) -> None:
        """Set it up.

        Args:
            splits: Number of equal parts of the images, over which mean and deviation are taken.
        """
        require(splits >= 1, f"inception_score splits must be at least 1, not {splits}")
        self.splits = splits

    def __call__(
        self,
        real: FeatureStatistics | None,
        fake: FeatureStatistics,
        rng: np.random.Generator,
    ) -> dict[str, float]:
        """Return is_mean, is_std (population deviation over splits) and is_splits."""
        if fake.logits is None or len(fake.logits) < 2:
            raise DataError("the inception score needs the logits of 2 images or more")
        count = len(fake.logits)
        splits = self.splits if count >= MIN_PER_SPLIT * self.splits else 1
        # images may come sorted by class, which would make each split a class
        logits = fake.logits[rng.permutation(count)].astype(np.float64)
        log_p = log_softmax(logits, axis=1)
        scores = [
            _score(log_p[part * count // splits : (part + 1) * count // splits])
            for part in range(splits)
        ]
        return {
            "is_mean": float(np.mean(scores)),
            "is_std": float(np.std(scores)),
            "is_splits": splits,
        }


def _score(log_p: np.ndarray) -> float:
    p = np.exp(log_p)
    marginal = p.mean(axis=0)
    # where no image gives a class any probability, its term is 0 log 0 = 0
    log_marginal = np.log(np.where(marginal > 0, marginal, 1.0))
    divergence = np.where(p > 0, p * (log_p - log_marginal), 0.0).sum(axis=1)
    return float(np.exp(divergence.mean()))
