"""Inception score against torch-fidelity and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch_fidelity.metric_isc import isc_features_to_metric

import gan_bench.evaluation  # noqa: F401  (fills METRICS)
from gan_bench.errors import DataError
from gan_bench.evaluation.statistics import FeatureStatistics
from gan_bench.registry import METRICS


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def statistics(features: np.ndarray) -> FeatureStatistics:
    return FeatureStatistics(n=len(features), features=features.astype(np.float32))


def scored(logits: np.ndarray, **options: int) -> dict[str, float]:
    metric = METRICS.build("inception_score", **options)
    return metric(None, FeatureStatistics(n=len(logits), logits=logits), rng())


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
    found = scored(logits)
    assert set(found) == {"is_mean_1split", "is_splits"} and found["is_splits"] == 1
    assert found["is_mean_1split"] == pytest.approx(scored(logits, splits=1)["is_mean"])
    assert scored(logits[:1].repeat(100, axis=0))["is_splits"] == 10
    with pytest.raises(DataError, match="2 generated images"):
        scored(logits[:1])
    with pytest.raises(DataError, match="2 generated images"):
        METRICS.build("inception_score").check(None, 1, None)
