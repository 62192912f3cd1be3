"""FID of infinitely many generated images (Chong and Forsyth 2020, arXiv 1911.07023)."""

from __future__ import annotations

import numpy as np
import torch

from gan_bench.errors import DataError, require
from gan_bench.evaluation.frechet import Gaussian, frechet_distance
from gan_bench.evaluation.metrics.base import Metric
from gan_bench.evaluation.moments import Moments
from gan_bench.evaluation.statistics import FeatureStatistics, Needs
from gan_bench.registry import METRICS

_FEWEST = 20


@METRICS.register("fid_infinity", source="Chong and Forsyth 2020, arXiv 1911.07023, section 4")
class FrechetDistanceInfinity(Metric):
    """FID without the bias of the number of generated images; lower is better.

    The bias falls as 1 / N: FIDs of random parts of several sizes are fitted by a line in 1 / N,
    whose value at 0 is taken. That of the real images' number remains. It can fall below 0 by
    chance. Sizes are evenly spaced from a tenth of the images to all, which for the paper's 50k
    are its 5k to 50k; but from twice the number of features on, or from half of the images if they
    are few. With a part of no more images than features the bias is no line in 1 / N, and the
    figure is called `fid_infinity_rank_deficient`. Deviation: the paper also draws latents by a
    Sobol sequence.
    """

    needs = Needs(moments=True, features=True)
    figures = ("fid_infinity", "fid_infinity_rank_deficient")

    def __init__(self, *, points: int = 15) -> None:
        """Set it up.

        Args:
            points: Number of sizes.
        """
        require(points >= 2, f"fid_infinity points must be at least 2, not {points}")
        self.points = points

    def check(self, n_real: int | None, n_fake: int, shape: tuple[int, int, int] | None) -> None:
        """Refuse too few images for parts of them (DataError)."""
        if n_fake < _FEWEST:
            raise DataError(f"fid_infinity needs {_FEWEST} generated images or more, not {n_fake}")

    def __call__(
        self,
        real: FeatureStatistics | None,
        fake: FeatureStatistics,
        rng: np.random.Generator,
    ) -> dict[str, float | str]:
        """Return fid_infinity and fid_infinity_sizes; see `Metric`."""
        if real is None or real.gaussian is None or fake.features is None:
            raise DataError("fid_infinity needs the moments of real and generated features")
        count = len(fake.features)
        self.check(None, count, None)
        reference = real.gaussian.factored()
        dim = fake.features.shape[1]
        smallest = max(count // 10, min(2 * dim, count // 2))
        sizes = np.linspace(smallest, count, self.points).astype(int)
        distances = []
        for size in sizes:
            moments = Moments()
            moments.update(torch.from_numpy(fake.features[rng.permutation(count)[:size]]))
            distances.append(frechet_distance(reference, Gaussian.of(moments)))
        _, intercept = np.polyfit(1.0 / sizes, distances, 1)
        key = "fid_infinity" if smallest > dim else "fid_infinity_rank_deficient"
        return {
            key: float(intercept),
            "fid_infinity_sizes": f"{sizes[0]} to {sizes[-1]} in {self.points}",
        }
