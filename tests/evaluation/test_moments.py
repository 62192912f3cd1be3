"""Moments and the Fréchet distance against numpy, closed forms and torch-fidelity."""

from __future__ import annotations

import numpy as np
import pytest
from torch_fidelity.metric_fid import fid_statistics_to_metric

from gan_bench.errors import DataError
from gan_bench.evaluation.statistics import Moments, frechet_distance


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("sizes", [(100,), (1,) * 100, (3, 0, 47, 1, 49), (99, 1)])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_moments_of_odd_chunks_equal_numpy(sizes: tuple[int, ...], offset: float) -> None:
    rows = rng().normal(size=(100, 5)) @ rng(1).normal(size=(5, 5)) + offset
    moments, start = Moments(), 0
    for size in sizes:
        moments.update(rows[start : start + size])
        start += size
    assert moments.count == 100
    np.testing.assert_allclose(moments.mean, rows.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(moments.covariance, np.cov(rows, rowvar=False), atol=1e-9)


def test_moments_are_float64_of_float32_rows() -> None:
    rows = (rng().normal(size=(500, 3)) * 1e-3 + 100.0).astype(np.float32)
    moments = Moments()
    for start in range(0, 500, 7):
        moments.update(rows[start : start + 7])
    expected = np.cov(rows.astype(np.float64), rowvar=False)
    np.testing.assert_allclose(moments.covariance, expected, rtol=1e-9)


def test_moments_of_too_few_rows() -> None:
    moments = Moments()
    with pytest.raises(DataError, match="no images"):
        _ = moments.mean
    moments.update(np.ones((1, 2)))
    with pytest.raises(DataError, match="2 images"):
        _ = moments.covariance


def test_frechet_of_a_mean_shift_is_its_squared_length() -> None:
    cov = np.cov(rng().normal(size=(50, 4)), rowvar=False)
    shift = np.array([1.0, -2.0, 3.0, 0.5])
    assert frechet_distance(shift, cov, np.zeros(4), cov) == pytest.approx(shift @ shift)


@pytest.mark.parametrize("dim", [1, 8, 100])
def test_frechet_of_scaled_identities(dim: int) -> None:
    zero, eye = np.zeros(dim), np.eye(dim)
    # d (s1 - s2)^2 for standard deviations s1 and s2
    assert frechet_distance(zero, 4.0 * eye, zero, 9.0 * eye) == pytest.approx(dim)


def test_frechet_of_commuting_covariances_in_a_rotated_basis() -> None:
    basis, _ = np.linalg.qr(rng().normal(size=(20, 20)))
    first, second = rng(1).uniform(0.1, 5.0, 20), rng(2).uniform(0.1, 5.0, 20)
    distance = frechet_distance(
        np.zeros(20), basis * first @ basis.T, np.zeros(20), basis * second @ basis.T
    )
    assert distance == pytest.approx(((np.sqrt(first) - np.sqrt(second)) ** 2).sum())


def test_frechet_of_nearly_singular_covariances() -> None:
    basis, _ = np.linalg.qr(rng().normal(size=(64, 64)))
    first, second = np.logspace(1, -14, 64), np.logspace(1, -9, 64)
    distance = frechet_distance(
        np.zeros(64), basis * first @ basis.T, np.zeros(64), basis * second @ basis.T
    )
    assert distance == pytest.approx(((np.sqrt(first) - np.sqrt(second)) ** 2).sum(), abs=1e-5)


def test_frechet_of_fewer_images_than_features() -> None:
    rows = rng().normal(size=(20, 64))
    mean, cov = rows.mean(axis=0), np.cov(rows, rowvar=False)
    assert frechet_distance(mean, cov, mean, cov) == pytest.approx(0.0, abs=1e-4)
    assert frechet_distance(mean, cov, mean, 4.0 * cov) == pytest.approx(np.trace(cov), abs=1e-4)


@pytest.mark.parametrize("dim", [3, 64])
def test_frechet_equals_torch_fidelity(dim: int) -> None:
    first = rng().normal(size=(300, dim)) @ rng(1).normal(size=(dim, dim))
    second = rng(2).normal(size=(400, dim)) * 1.5 + 0.3
    moments = [(each.mean(axis=0), np.cov(each, rowvar=False)) for each in (first, second)]
    oracle = fid_statistics_to_metric(
        *({"mu": mean, "sigma": cov} for mean, cov in moments), verbose=False
    )
    distance = frechet_distance(*moments[0], *moments[1])
    assert distance == pytest.approx(oracle["frechet_inception_distance"], rel=1e-9)
    assert distance == pytest.approx(frechet_distance(*moments[1], *moments[0]), rel=1e-9)


def test_frechet_refuses_what_is_not_finite_or_does_not_fit() -> None:
    good = (np.zeros(2), np.eye(2))
    with pytest.raises(DataError, match="not finite"):
        frechet_distance(np.array([0.0, np.nan]), np.eye(2), *good)
    with pytest.raises(DataError, match="can't be compared"):
        frechet_distance(np.zeros(3), np.eye(3), *good)
