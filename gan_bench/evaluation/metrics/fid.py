"""Fréchet Inception distance (Heusel et al. 2017, arXiv 1706.08500)."""

from __future__ import annotations

import numpy as np

from gan_bench.errors import DataError
from gan_bench.evaluation.frechet import frechet_distance
from gan_bench.evaluation.metrics.base import Metric
from gan_bench.evaluation.statistics import FeatureStatistics, Needs
from gan_bench.registry import METRICS


@METRICS.register("fid", source="Heusel et al. 2017, arXiv 1706.08500, eq. 6")
class FrechetDistance(Metric):
    """Fréchet distance of Gaussians fitted to real and generated features; lower is better.

    Biased upward for small samples: figures compare at equal numbers of images only.
    """

    needs = Needs(moments=True)
    figures = ("fid",)

    def __call__(
        self,
        real: FeatureStatistics | None,
        fake: FeatureStatistics,
        rng: np.random.Generator,
    ) -> dict[str, float]:
        """Return {"fid": distance >= 0}; see `Metric`."""
        if real is None or real.gaussian is None:
            raise DataError("fid needs the moments of real images")
        if fake.gaussian is None:
            raise DataError("fid needs the moments of generated images")
        return {"fid": frechet_distance(real.gaussian, fake.gaussian)}
