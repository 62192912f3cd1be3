"""FID-infinity: the bias of the number of images goes, for Gaussians with a known distance."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gan_bench.errors import DataError
from gan_bench.evaluation.frechet import Gaussian
from gan_bench.evaluation.metrics.fid import FrechetDistance
from gan_bench.evaluation.metrics.fid_infinity import FrechetDistanceInfinity
from gan_bench.evaluation.moments import Moments
from gan_bench.evaluation.statistics import FeatureStatistics


def fake(features: np.ndarray) -> FeatureStatistics:
    moments = Moments()
    moments.update(torch.from_numpy(features))
    return FeatureStatistics(n=len(features), features=features, gaussian=Gaussian.of(moments))


@pytest.mark.parametrize("dim", [16, 64])
def test_the_bias_of_n_is_gone(dim: int) -> None:
    """N(0, 1) against N(0.1, 1.2^2) a dimension: d (0.1^2 + 0.2^2); the real moments are exact."""
    truth = dim * (0.1**2 + 0.2**2)
    real = FeatureStatistics(
        n=None,
        gaussian=Gaussian.from_matrix(torch.zeros(dim), torch.eye(dim)),
    )
    plain, infinity = [], []
    for seed in range(6):
        draws = np.random.default_rng(seed)
        side = fake((0.1 + 1.2 * draws.normal(size=(1000, dim))).astype(np.float32))
        plain.append(FrechetDistance()(real, side, draws)["fid"])
        found = FrechetDistanceInfinity()(real, side, draws)
        infinity.append(found["fid_infinity"])
    bias, rest = np.mean(plain) - truth, np.mean(infinity) - truth
    assert bias > 0.03 * truth
    assert abs(rest) < 0.3 * bias
    assert found["fid_infinity_sizes"] == f"{max(100, 2 * dim)} to 1000 in 15"


def test_fewer_images_than_features_are_a_figure_of_another_name() -> None:
    side = fake(np.random.default_rng(0).normal(size=(100, 64)).astype(np.float32))
    found = FrechetDistanceInfinity()(side, side, np.random.default_rng(0))
    assert set(found) == {"fid_infinity_rank_deficient", "fid_infinity_sizes"}


def test_needs_parts_to_extrapolate_from() -> None:
    side = fake(np.random.default_rng(0).normal(size=(19, 3)).astype(np.float32))
    with pytest.raises(DataError, match="20 generated images"):
        FrechetDistanceInfinity()(side, side, np.random.default_rng(0))
