"""What a metric looks like to the evaluator."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from gan_bench.errors import DataError
from gan_bench.evaluation.statistics import Array, FeatureStatistics, Needs


class Metric(ABC):
    """A registered metric: it says what it needs and turns that into figures.

    What it returns under one of `figures` is a result, whose key gets the extractor's suffix;
    what else it returns are figures that depend on no extractor (`ms_ssim`), or the settings that
    it used in fact (`kid_subset_size`).
    """

    needs: Needs
    """What has to be collected."""
    figures: tuple[str, ...] = ()
    """Keys that get the extractor's suffix."""

    def check(  # noqa: B027  (most metrics have nothing to refuse)
        self, n_real: int | None, n_fake: int, shape: tuple[int, int, int] | None
    ) -> None:
        """Refuse what the data can't support, before anything is computed.

        Args:
            n_real: Number of real images; None without a reference, or if a statistics file
                doesn't say it.
            n_fake: Number of generated images.
            shape: (C, H, W) of the images; None if nothing tells it beforehand.

        Raises:
            DataError: There are too few images, or they are too small.
        """

    @abstractmethod
    def __call__(
        self,
        real: FeatureStatistics | None,
        fake: FeatureStatistics,
        rng: np.random.Generator,
    ) -> dict[str, Any]:
        """Compute.

        Args:
            real: Statistics of the real images; None if the metric needs none of them.
            fake: Statistics of the generated images.
            rng: For random subsets; the only source of chance.

        Raises:
            DataError: There are too few images for the figure.
        """


def both_features(real: FeatureStatistics | None, fake: FeatureStatistics) -> tuple[Array, Array]:
    """Return the features of both sides, float32 (n, d) each.

    Raises:
        DataError: One side's features were not collected, or their sizes differ.
    """
    if real is None or real.features is None or fake.features is None:
        raise DataError("this metric needs the features of real and of generated images")
    if real.features.shape[1] != fake.features.shape[1]:
        raise DataError(
            f"features of {real.features.shape[1]} and of {fake.features.shape[1]} numbers "
            "can't be compared"
        )
    return real.features, fake.features
