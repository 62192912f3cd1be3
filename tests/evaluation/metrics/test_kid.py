"""KID against torch-fidelity, the defining sums and its own statistics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch_fidelity.metric_kid import kid_features_to_metric

import gan_bench.evaluation  # noqa: F401  (fills METRICS)
from gan_bench.errors import DataError
from gan_bench.evaluation.metrics.kid import squared_mmd
from gan_bench.evaluation.statistics import FeatureStatistics
from gan_bench.registry import METRICS


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def statistics(features: np.ndarray) -> FeatureStatistics:
    return FeatureStatistics(n=len(features), features=features.astype(np.float32))


def test_squared_mmd_equals_the_defining_sums() -> None:
    x, y = rng().normal(size=(6, 4)), rng(1).normal(size=(5, 4))

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / 4 + 1) ** 3)

    xx = sum(kernel(x[i], x[j]) for i in range(6) for j in range(6) if i != j) / 30
    yy = sum(kernel(y[i], y[j]) for i in range(5) for j in range(5) if i != j) / 20
    xy = sum(kernel(a, b) for a in x for b in y) / 30
    assert squared_mmd(x, y) == pytest.approx(xx + yy - 2 * xy, rel=1e-6)


def test_kid_equals_torch_fidelity_on_the_same_subsets() -> None:
    real = rng().normal(size=(120, 16)).astype(np.float32)
    fake = (rng(1).normal(size=(150, 16)) * 1.3 + 0.2).astype(np.float32)
    metric = METRICS.build("kid", subsets=20, subset_size=50)

    class Draws:
        """The legacy generator of torch-fidelity in the place of numpy's."""

        def __init__(self) -> None:
            self.choice = np.random.RandomState(2020).choice

    found = metric(statistics(real), statistics(fake), Draws())
    oracle = kid_features_to_metric(
        torch.from_numpy(real).double(),
        torch.from_numpy(fake).double(),
        kid_subsets=20,
        kid_subset_size=50,
        rng_seed=2020,
        verbose=False,
    )
    assert found["kid_mean"] == pytest.approx(oracle["kernel_inception_distance_mean"], rel=1e-6)
    assert found["kid_std"] == pytest.approx(oracle["kernel_inception_distance_std"], rel=1e-6)
    assert found["kid_subset_size"] == 50


def test_kid_of_one_distribution_is_unbiased() -> None:
    draws = rng(3)
    values = [
        squared_mmd(draws.normal(size=(20, 8)), draws.normal(size=(30, 8))) for _ in range(2000)
    ]
    error = np.std(values) / np.sqrt(len(values))
    assert abs(np.mean(values)) < 4 * error
    assert min(values) < 0  # as only an unbiased estimate can be


def test_kid_of_small_samples_takes_halves_and_says_so() -> None:
    real, fake = rng().normal(size=(60, 4)), rng(1).normal(size=(41, 4))
    found = METRICS.build("kid")(statistics(real), statistics(fake), rng())
    assert found["kid_subset_size"] == 20
    assert found["kid_std"] > 0
    with pytest.raises(DataError, match="4 images"):
        METRICS.build("kid")(statistics(real), statistics(fake[:3]), rng())


@pytest.mark.parametrize("scale", [1.0, 1.02, 1.3])
def test_float32_products_cost_no_digit_that_counts(scale: float) -> None:
    """Non-negative features about a large mean, as pooled activations are, in float64 by numpy."""
    sides = [np.maximum(rng(seed).normal(0.5, 1.0, size=(600, 256)), 0) for seed in (0, 1)]
    x, y = (side.astype(np.float32) for side in (sides[0], sides[1] * scale))
    a, b = x.astype(np.float64), y.astype(np.float64)
    xx, yy, xy = ((p @ q.T / 256 + 1) ** 3 for p, q in ((a, a), (b, b), (a, b)))
    pairs = 600 * 599
    expected = (xx.sum() - np.trace(xx) + yy.sum() - np.trace(yy)) / pairs - 2 * xy.mean()
    # 1e-6 of the figure, or a millionth of its deviation where it is about 0
    assert squared_mmd(x, y) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def kernel_sums(x: np.ndarray, y: np.ndarray) -> float:
    """The unbiased squared MMD by float64 kernel matrices."""
    xx, yy, xy = ((p @ q.T / x.shape[1] + 1) ** 3 for p, q in ((x, x), (y, y), (x, y)))
    within = [(k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in (xx, yy)]
    return sum(within) - 2 * xy.mean()


def test_blocks_equal_tf_contrib_gan() -> None:
    """Mean and standard error of disjoint blocks, their number as few as 1024 a block allow."""
    real, fake = rng().normal(size=(2100, 4)), rng(1).normal(size=(1500, 4)) + 0.3
    drawn = rng(5)
    orders = [drawn.permutation(2100), drawn.permutation(1500)]
    found = METRICS.build("kid", estimator="blocks")(statistics(real), statistics(fake), rng(5))
    values = [
        kernel_sums(
            real[orders[0][i * 700 : (i + 1) * 700]], fake[orders[1][i * 500 : (i + 1) * 500]]
        )
        for i in range(3)
    ]
    mean = sum(values) / 3
    variance = sum((value - mean) ** 2 for value in values) / (3 - 1)
    assert found["kid_blocks"] == 3
    assert found["kid_mean"] == pytest.approx(mean, rel=1e-5)
    assert found["kid_std"] == pytest.approx((variance / 3) ** 0.5, rel=1e-4)


def test_one_block_has_no_deviation() -> None:
    metric = METRICS.build("kid", estimator="blocks")
    real, fake = rng().normal(size=(1024, 4)), rng(1).normal(size=(600, 4))
    found = metric(statistics(real), statistics(fake), rng())
    assert set(found) == {"kid_mean", "kid_blocks"} and found["kid_blocks"] == 1
    assert found["kid_mean"] == pytest.approx(kernel_sums(real, fake), rel=1e-5)


def test_blocks_of_fewer_than_two_images_are_refused() -> None:
    metric = METRICS.build("kid", estimator="blocks")
    with pytest.raises(DataError, match="10 images a side or more.*not 5000 and 9"):
        metric.check(5000, 9, None)
    with pytest.raises(DataError, match="10 images a side"):
        metric(statistics(np.ones((5000, 2))), statistics(np.ones((9, 2))), rng())
    metric.check(5000, 10, None)
    METRICS.build("kid").check(5000, 9, None)


def true_mmd(shift: float, dim: int) -> float:
    """Squared MMD of N(0, 1) and N(shift, 1) a dimension: moments of (x.y/d + 1)^3, expanded."""

    def mean_kernel(first: np.ndarray, second: np.ndarray) -> float:
        powers = 1.0
        for order, weight in ((1, 3), (2, 3), (3, 1)):
            one, two = moment(first, order), moment(second, order)
            powers += weight * float((one * two).sum()) / dim**order
        return powers

    def moment(mean: np.ndarray, order: int) -> np.ndarray:
        eye = np.eye(dim)
        if order == 1:
            return mean
        if order == 2:
            return np.multiply.outer(mean, mean) + eye
        product = np.multiply.outer(eye, mean)
        pairs = product + product.transpose(0, 2, 1) + product.transpose(2, 0, 1)
        return np.multiply.outer(np.multiply.outer(mean, mean), mean) + pairs

    x, y = np.zeros(dim), np.full(dim, shift)
    return mean_kernel(x, x) + mean_kernel(y, y) - 2 * mean_kernel(x, y)


def test_all_pairs_have_the_smallest_variance_and_no_bias() -> None:
    """Against subsets of the same images, over many samples of two known distributions."""
    all_pairs, subsets = [], []
    few = METRICS.build("kid", subsets=5, subset_size=20)
    for seed in range(120):
        draws = rng(seed)
        real, fake = (
            statistics(draws.normal(size=(80, 3))),
            statistics(draws.normal(size=(80, 3)) + 0.4),
        )
        all_pairs.append(METRICS.build("kid_all_pairs")(real, fake, rng())["kid_all_pairs"])
        subsets.append(few(real, fake, rng())["kid_mean"])
    assert np.std(all_pairs) < 0.8 * np.std(subsets)
    truth = true_mmd(0.4, 3)
    for values in (all_pairs, subsets):
        assert abs(np.mean(values) - truth) < 4 * np.std(values) / np.sqrt(len(values))
