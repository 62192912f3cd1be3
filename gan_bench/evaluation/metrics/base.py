"""What a metric looks like to the evaluator."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from gan_bench.errors import DataError
from gan_bench.evaluation.statistics import Array, FeatureStatistics, Needs


class Metric(Protocol):
    """A registered metric: it says what it needs and turns that into figures.

    What it returns under one of `figures` is a result, whose key gets the extractor's suffix;
    what else it returns are the settings that it used in fact (`kid_subset_size`).
    """

    @property
    def needs(self) -> Needs:
        """What has to be collected."""
        ...

    @property
    def figures(self) -> tuple[str, ...]:
        """Keys that get the extractor's suffix."""
        ...

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
        ...


def both_features(real: FeatureStatistics | None, fake: FeatureStatistics) -> tuple[Array, Array]:
    """Return the features of both sides, float64 (n, d) each.

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
    return real.features.astype(np.float64), fake.features.astype(np.float64)
