"""PRD against the algebra of two histograms and known distributions."""

from __future__ import annotations

import numpy as np
import pytest

from gan_bench.errors import DataError
from gan_bench.evaluation.metrics.prd import PrecisionRecallDistributions, f_beta, prd_curve
from gan_bench.evaluation.statistics import FeatureStatistics


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def statistics(features: np.ndarray) -> FeatureStatistics:
    return FeatureStatistics(n=len(features), features=features.astype(np.float32))


def measured(real: np.ndarray, fake: np.ndarray, **options: int) -> tuple[float, float]:
    metric = PrecisionRecallDistributions(**options)
    found = metric(statistics(real), statistics(fake), rng())
    return found["prd_f8"], found["prd_f1_8"]


def test_equal_histograms_reach_the_corner_and_disjoint_ones_nothing() -> None:
    same = np.array([0.2, 0.5, 0.3])
    precision, recall = prd_curve(same, same)
    assert np.minimum(precision, recall).max() == pytest.approx(1.0)
    apart = prd_curve(np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    assert apart.max() == 0.0


def test_the_curve_of_half_the_modes() -> None:
    """Evaluated on one of two equal modes: precision 1 is reached, recall ends at one half."""
    precision, recall = prd_curve(np.array([0.5, 0.5]), np.array([1.0, 0.0]))
    assert precision.max() == pytest.approx(1.0)
    assert recall.max() == pytest.approx(0.5)
    # every point by the definition, min over bins, at angle 45 degrees: slope 1
    middle = len(precision) // 2
    assert (precision[middle], recall[middle]) == pytest.approx((0.5, 0.5))
    # the roles are exchanged by exchanging the histograms
    mirrored = prd_curve(np.array([1.0, 0.0]), np.array([0.5, 0.5]))
    np.testing.assert_allclose(mirrored[0][::-1], recall, atol=1e-6)


def test_f_beta_weighs_as_its_formula() -> None:
    p, r = np.array([0.9]), np.array([0.3])
    assert f_beta(p, r, 8.0)[0] == pytest.approx(65 * 0.27 / (64 * 0.9 + 0.3))
    assert f_beta(p, r, 1.0)[0] == pytest.approx(2 * 0.27 / 1.2)
    assert f_beta(np.zeros(1), np.zeros(1), 8.0)[0] == 0.0


def modes(seed: int, *centres: float) -> np.ndarray:
    return np.concatenate(
        [rng(seed + i).normal(c, 0.1, size=(300, 3)) for i, c in enumerate(centres)]
    )


def test_dropped_modes_cost_recall_and_invented_ones_precision() -> None:
    options = {"clusters": 4, "runs": 3}
    real = modes(0, 0.0, 5.0, 10.0, 15.0)
    recall, precision = measured(real, modes(10, 0.0, 5.0, 0.0, 5.0), **options)
    assert recall < 0.6 and precision > 0.9
    recall, precision = measured(modes(20, 0.0, 5.0, 0.0, 5.0), real, **options)
    assert recall > 0.9 and precision < 0.6
    assert min(measured(real, modes(30, 0.0, 5.0, 10.0, 15.0), **options)) > 0.9


def test_the_larger_side_is_cut_to_the_smaller() -> None:
    real = modes(0, 0.0, 5.0)
    assert min(measured(real, modes(5, 0.0, 5.0)[::3], clusters=2, runs=2)) > 0.9


def test_fewer_images_than_clusters_are_one_line() -> None:
    with pytest.raises(DataError, match="20 clusters needs as many"):
        measured(modes(0, 0.0), np.zeros((19, 3)))
