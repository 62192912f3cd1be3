"""Inception score, KID, precision and recall against torch-fidelity, closed forms and loops."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

import gan_bench.evaluation  # noqa: F401  (fills METRICS)
from gan_bench.errors import ConfigError, DataError
from gan_bench.evaluation.metrics.kid import squared_mmd
from gan_bench.evaluation.metrics.precision_recall import squared_distances
from gan_bench.evaluation.statistics import FeatureStatistics
from gan_bench.registry import METRICS


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def statistics(features: np.ndarray) -> FeatureStatistics:
    return FeatureStatistics(n=len(features), features=features.astype(np.float32))


def scored(logits: np.ndarray, **options: int) -> dict[str, float]:
    metric = METRICS.build("inception_score", **options)
    return metric(None, FeatureStatistics(n=len(logits), logits=logits), rng())


def covered(real: np.ndarray, fake: np.ndarray, k: int = 3) -> tuple[float, float]:
    found = METRICS.build("precision_recall", k=k)(statistics(real), statistics(fake), rng())
    return found["precision"], found["recall"]


# --- inception score


@pytest.mark.parametrize("splits", [1, 3, 10])
def test_inception_score_equals_torch_fidelity(splits: int) -> None:
    logits = rng().normal(size=(205, 10)).astype(np.float32) * 3
    found = scored(logits, splits=splits)
    shuffled = torch.from_numpy(logits[rng().permutation(205)])
    oracle = isc_features_to_metric(shuffled, splits, shuffle=False)
    assert found["is_mean"] == pytest.approx(oracle["inception_score_mean"], rel=1e-12)
    assert found["is_std"] == pytest.approx(oracle["inception_score_std"], rel=1e-9, abs=1e-12)
    assert found["is_splits"] == splits


def test_inception_score_of_certain_and_uniform_predictions_is_the_number_of_classes() -> None:
    logits = np.tile(np.eye(7, dtype=np.float32) * 1e4, (20, 1))
    found = scored(logits, splits=1)
    assert found["is_mean"] == pytest.approx(7.0)


def test_inception_score_of_one_prediction_is_one() -> None:
    found = scored(np.tile(rng().normal(size=(1, 10)), (100, 1)).astype(np.float32))
    assert found["is_mean"] == pytest.approx(1.0)
    assert found["is_std"] == pytest.approx(0.0, abs=1e-12)


def test_inception_score_of_images_sorted_by_class_does_not_collapse() -> None:
    logits = np.repeat(np.eye(5, dtype=np.float32) * 1e4, 100, axis=0)
    assert scored(logits, splits=5)["is_mean"] > 4.5


def test_inception_score_of_few_images_uses_one_split_and_says_so() -> None:
    logits = rng().normal(size=(99, 10)).astype(np.float32)
    assert scored(logits)["is_splits"] == 1
    assert scored(logits[:1].repeat(100, axis=0))["is_splits"] == 10
    with pytest.raises(DataError, match="2 images"):
        scored(logits[:1])


# --- KID


@pytest.mark.parametrize("degree", [1, 3])
def test_squared_mmd_equals_the_defining_sums(degree: int) -> None:
    x, y = rng().normal(size=(6, 4)), rng(1).normal(size=(5, 4))

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / 4 + 1) ** degree)

    xx = sum(kernel(x[i], x[j]) for i in range(6) for j in range(6) if i != j) / 30
    yy = sum(kernel(y[i], y[j]) for i in range(5) for j in range(5) if i != j) / 20
    xy = sum(kernel(a, b) for a in x for b in y) / 30
    assert squared_mmd(x, y, degree=degree) == pytest.approx(xx + yy - 2 * xy, rel=1e-12)


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
    assert found["kid_mean"] == pytest.approx(oracle["kernel_inception_distance_mean"], rel=1e-10)
    assert found["kid_std"] == pytest.approx(oracle["kernel_inception_distance_std"], rel=1e-8)
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


# --- precision and recall


def test_the_same_images_have_precision_and_recall_one() -> None:
    points = rng().normal(size=(50, 6))
    assert covered(points, points[::-1]) == (1.0, 1.0)


def test_disjoint_images_have_precision_and_recall_zero() -> None:
    points = rng().normal(size=(50, 6))
    assert covered(points, points + 1e3) == (0.0, 0.0)


def test_dropping_half_of_the_modes_halves_recall() -> None:
    left, right = rng().normal(size=(200, 4)), rng(1).normal(size=(200, 4)) + 100.0
    precision, recall = covered(np.concatenate([left, right]), rng(2).normal(size=(400, 4)))
    assert precision > 0.85
    assert recall == pytest.approx(0.5, abs=0.05)


def test_one_image_repeated_is_precise_and_covers_only_itself() -> None:
    real = rng().normal(size=(100, 8)) + 50.0
    precision, recall = covered(real, np.repeat(real[:1], 100, axis=0))
    assert (precision, recall) == (1.0, 0.01)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_precision_and_recall_equal_loops_and_torch_fidelity(k: int) -> None:
    real = rng().normal(size=(40, 3)).astype(np.float32)
    fake = (rng(1).normal(size=(55, 3)) * 0.7 + 0.5).astype(np.float32)

    def share(points: np.ndarray, centres: np.ndarray) -> float:
        inside = 0
        for point in points:
            for centre in centres:
                radius = sorted(np.linalg.norm(centres - centre, axis=1))[k]
                if np.linalg.norm(point - centre) <= radius:
                    inside += 1
                    break
        return inside / len(points)

    found = covered(real, fake, k)
    assert found == (share(fake, real), share(real, fake))
    oracle = prc_features_to_metric(
        torch.from_numpy(fake), torch.from_numpy(real), prc_neighborhood=k, verbose=False
    )
    assert found == pytest.approx((oracle["precision"], oracle["recall"]))


def test_precision_recall_in_pieces_equals_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    real, fake = rng().normal(size=(45, 3)), rng(1).normal(size=(38, 3)) * 0.7
    whole = covered(real, fake)
    monkeypatch.setattr("gan_bench.evaluation.metrics.precision_recall._ROWS", 7)
    assert covered(real, fake) == whole


def test_squared_distances() -> None:
    x, y = rng().normal(size=(9, 5)), rng(1).normal(size=(7, 5))
    expected = ((x[:, None] - y[None]) ** 2).sum(axis=2)
    np.testing.assert_allclose(squared_distances(x, y), expected, rtol=1e-10)
    np.testing.assert_array_equal(np.diag(squared_distances(x, x)), 0.0)


# --- all


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("kid", {"subsets": 0}),
        ("kid", {"subset_size": 1}),
        ("kid", {"degree": 0}),
        ("inception_score", {"splits": 0}),
        ("precision_recall", {"k": 0}),
        ("ms_ssim", {"pairs": 0}),
        ("ms_ssim", {"max_images": 1}),
        ("kid", {"subset_sizes": 3}),
    ],
)
def test_options_out_of_range_are_refused(name: str, options: dict[str, int]) -> None:
    with pytest.raises(ConfigError) as caught:
        METRICS.build(name, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", METRICS.names())
def test_a_metric_without_what_it_needs_is_an_error_line(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataError):
            METRICS.build(name)(None, FeatureStatistics(n=0), rng())


def test_too_few_images_for_k_neighbours() -> None:
    with pytest.raises(DataError, match="k=3 needs 4"):
        covered(rng().normal(size=(3, 2)), rng().normal(size=(10, 2)))


def test_features_of_different_sizes_are_refused() -> None:
    with pytest.raises(DataError, match="can't be compared"):
        covered(rng().normal(size=(9, 2)), rng().normal(size=(9, 3)))
