"""Intra-class FID: classes that are mixed up are seen by it and not by FID."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gan_bench.errors import DataError
from gan_bench.evaluation.frechet import Gaussian, frechet_distance
from gan_bench.evaluation.metrics.intra_fid import IntraClassFrechetDistance
from gan_bench.evaluation.statistics import FeatureStatistics

RNG = np.random.default_rng(0)


def side(labels: np.ndarray | None, seed: int) -> FeatureStatistics:
    """Two classes of features, far apart."""
    draws = np.random.default_rng(seed)
    truth = np.arange(400) % 2
    features = draws.normal(size=(400, 5)) + 10.0 * truth[:, None]
    return FeatureStatistics(n=400, features=features.astype(np.float32), labels=labels)


def test_is_the_mean_of_the_classes_distances() -> None:
    labels = np.arange(400) % 2
    real, fake = side(labels, 0), side(labels, 1)
    expected = []
    for label in (0, 1):
        parts = [each.features[labels == label].astype(np.float64) for each in (real, fake)]
        gaussians = [
            Gaussian.from_matrix(
                torch.from_numpy(part.mean(0)), torch.from_numpy(np.cov(part, rowvar=False))
            )
            for part in parts
        ]
        expected.append(frechet_distance(*gaussians))
    found = IntraClassFrechetDistance()(real, fake, RNG)
    assert found["intra_fid"] == pytest.approx(np.mean(expected), rel=1e-9)
    assert found["intra_fid_max"] == pytest.approx(max(expected), rel=1e-9)
    assert found["intra_fid_classes"] == 2
    assert found["intra_fid"] < 0.5


def test_shuffled_labels_are_seen() -> None:
    labels = np.arange(400) % 2
    shuffled = np.random.default_rng(5).permutation(labels)
    assert IntraClassFrechetDistance()(side(labels, 0), side(shuffled, 1), RNG)["intra_fid"] > 100


def test_missing_or_rare_classes_are_one_line() -> None:
    labels = np.arange(400) % 2
    with pytest.raises(DataError, match="the generated images have none"):
        IntraClassFrechetDistance()(side(labels, 0), side(None, 1), RNG)
    rare = labels.copy()
    rare[0] = 7
    with pytest.raises(DataError, match="class 7 has 0 real and 1 generated"):
        IntraClassFrechetDistance()(side(labels, 0), side(rare, 1), RNG)
