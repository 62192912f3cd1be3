"""Precision, recall, density and coverage against prdc, torch-fidelity and loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from prdc import compute_prdc
from torch_fidelity.metric_prc import prc_features_to_metric

import gan_bench.evaluation  # noqa: F401  (fills METRICS)
from gan_bench.errors import DataError
from gan_bench.evaluation.metrics.neighbours import blocks, radii
from gan_bench.evaluation.statistics import FeatureStatistics
from gan_bench.registry import METRICS


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def statistics(features: np.ndarray) -> FeatureStatistics:
    return FeatureStatistics(n=len(features), features=features.astype(np.float32))


def covered(real: np.ndarray, fake: np.ndarray, k: int = 3) -> tuple[float, float]:
    found = METRICS.build("precision_recall", k=k)(statistics(real), statistics(fake), rng())
    return found["precision"], found["recall"]


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
    monkeypatch.setattr("gan_bench.evaluation.metrics.neighbours._ROWS", 7)
    assert covered(real, fake) == whole


def test_distances_in_blocks_equal_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gan_bench.evaluation.metrics.neighbours._ROWS", 4)
    x, y = rng().normal(size=(9, 5)), rng(1).normal(size=(7, 5))
    expected = ((x[:, None] - y[None]) ** 2).sum(axis=2)
    tensors = torch.from_numpy(x), torch.from_numpy(y)
    found = torch.cat([squares for _, squares in blocks(*tensors)])
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    own = torch.cat([squares for _, squares in blocks(tensors[0])])
    np.testing.assert_array_equal(own.diagonal(), 0.0)
    nearest = np.sort(((x[:, None] - x[None]) ** 2).sum(axis=2), axis=1)[:, 2]
    np.testing.assert_allclose(radii(tensors[0], 2), nearest, rtol=1e-10)


def test_too_few_images_for_k_neighbours() -> None:
    with pytest.raises(DataError, match="k=3 needs 4"):
        covered(rng().normal(size=(3, 2)), rng().normal(size=(10, 2)))
    with pytest.raises(DataError, match="k=5 needs 6"):
        METRICS.build("density_coverage").check(None, 5, None)


# --- density and coverage


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize(("dim", "spread"), [(3, 0.7), (16, 1.0), (64, 1.3)])
def test_all_four_equal_prdc(k: int, dim: int, spread: float) -> None:
    real = rng().normal(size=(120, dim)).astype(np.float32)
    fake = (rng(1).normal(size=(150, dim)) * spread + 0.1).astype(np.float32)
    expected = compute_prdc(real, fake, k)
    found = METRICS.build("density_coverage", k=k)(statistics(real), statistics(fake), rng())
    assert found == pytest.approx({key: expected[key] for key in found})
    assert covered(real, fake, k) == pytest.approx((expected["precision"], expected["recall"]))


def test_density_and_coverage_of_one_distribution_and_of_one_image() -> None:
    metric = METRICS.build("density_coverage")
    real, fake = rng().normal(size=(800, 4)), rng(1).normal(size=(800, 4))
    found = metric(statistics(real), statistics(fake), rng())
    assert found["density"] == pytest.approx(1.0, abs=0.15) and found["coverage"] > 0.9
    one = metric(statistics(real), statistics(np.repeat(real[:1] + 1e-4, 800, axis=0)), rng())
    assert one["coverage"] < 0.02
