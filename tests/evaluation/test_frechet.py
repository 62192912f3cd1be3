"""The Fréchet distance against closed forms, scipy's matrix root and torch-fidelity."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from gan_bench.errors import DataError
from gan_bench.evaluation.frechet import Gaussian, frechet_distance
from gan_bench.evaluation.moments import Moments


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def gaussian(mean: np.ndarray, cov: np.ndarray) -> Gaussian:
    return Gaussian.from_matrix(torch.from_numpy(mean), torch.from_numpy(cov))


def of_rows(rows: np.ndarray) -> Gaussian:
    moments = Moments()
    moments.update(torch.from_numpy(rows))
    return Gaussian.of(moments)


def torch_fidelity(first: np.ndarray, second: np.ndarray) -> float:
    stats = [fid_features_to_statistics(torch.from_numpy(each)) for each in (first, second)]
    found = fid_statistics_to_metric(*stats, verbose=False)
    return float(found["frechet_inception_distance"])


def test_a_mean_shift_gives_its_squared_length() -> None:
    cov = np.cov(rng().normal(size=(50, 4)), rowvar=False)
    shift = np.array([1.0, -2.0, 3.0, 0.5])
    found = frechet_distance(gaussian(shift, cov), gaussian(np.zeros(4), cov))
    assert found == pytest.approx(shift @ shift)


@pytest.mark.parametrize("dim", [2, 10, 64, 256, 1024, 2048])
def test_commuting_covariances_in_a_rotated_basis(dim: int) -> None:
    """sum (s1 - s2)^2 over the standard deviations; a reflection is a rotation that costs d^2."""
    normal = rng().normal(size=dim)
    normal /= np.linalg.norm(normal)

    def rotated(variances: np.ndarray) -> np.ndarray:
        # (1 - 2 n n') D (1 - 2 n n')
        scaled = variances * normal
        inner = normal @ scaled
        cross = np.outer(normal, scaled)
        return np.diag(variances) - 2 * (cross + cross.T) + 4 * inner * np.outer(normal, normal)

    first, second = rng(1).uniform(0.1, 5.0, dim), rng(2).uniform(0.1, 5.0, dim)
    shift = rng(3).normal(size=dim)
    found = frechet_distance(
        gaussian(shift, rotated(first)), gaussian(np.zeros(dim), rotated(second))
    )
    expected = ((np.sqrt(first) - np.sqrt(second)) ** 2).sum() + shift @ shift
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("n1", "n2"), [(20, 30), (200, 30), (20, 300), (64, 64), (65, 64)])
def test_fewer_images_than_dimensions_on_either_side(n1: int, n2: int) -> None:
    """Kept rows, a factor and a full covariance give what scipy's root of the product gives."""
    mix = rng(7).normal(size=(64, 64)) / 8
    x, y = rng().normal(size=(n1, 64)), rng(1).normal(size=(n2, 64)) @ mix + 0.1
    c1, c2 = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    # the root of a singular product is ill-conditioned: lift it off zero, and see that it vanishes
    lift = 1e-10 * np.eye(64)
    root = np.trace(sqrtm((c1 + lift) @ (c2 + lift)).real)
    shift = x.mean(axis=0) - y.mean(axis=0)
    expected = shift @ shift + np.trace(c1) + np.trace(c2) - 2 * root
    assert frechet_distance(of_rows(x), of_rows(y)) == pytest.approx(expected, rel=2e-4)
    by_matrices = frechet_distance(gaussian(x.mean(0), c1), gaussian(y.mean(0), c2))
    assert frechet_distance(of_rows(x), of_rows(y)) == pytest.approx(by_matrices, rel=1e-6)
    assert frechet_distance(of_rows(y), of_rows(x)) == pytest.approx(by_matrices, rel=1e-6)


@pytest.mark.parametrize(("n", "dim"), [(40, 64), (100, 2048)])
def test_rank_deficient_covariances_in_closed_form(n: int, dim: int) -> None:
    rows = rng().normal(size=(n, dim))
    trace = np.cov(rows, rowvar=False).trace()
    assert frechet_distance(of_rows(rows), of_rows(rows)) == pytest.approx(0.0, abs=1e-5)
    # a shift and a doubled spread: |m|^2 + tr C (2 - 1)^2
    twice = 2 * rows + 1.0 - rows.mean(axis=0)
    assert frechet_distance(of_rows(rows), of_rows(twice)) == pytest.approx(trace + dim, rel=1e-8)
    # rows in other dimensions overlap nowhere: tr C1 + tr C2
    left, right = np.zeros((n, dim)), np.zeros((n, dim))
    left[:, : dim // 2], right[:, dim // 2 :] = rows[:, : dim // 2], rows[:, dim // 2 :]
    left, right = left - left.mean(axis=0), right - right.mean(axis=0)
    assert frechet_distance(of_rows(left), of_rows(right)) == pytest.approx(trace, rel=1e-9)


def test_nearly_singular_covariances() -> None:
    basis, _ = np.linalg.qr(rng().normal(size=(64, 64)))
    first, second = np.logspace(1, -14, 64), np.logspace(1, -9, 64)
    found = frechet_distance(
        gaussian(np.zeros(64), basis * first @ basis.T),
        gaussian(np.zeros(64), basis * second @ basis.T),
    )
    assert found == pytest.approx(((np.sqrt(first) - np.sqrt(second)) ** 2).sum(), abs=1e-5)


@pytest.mark.parametrize("dim", [3, 64, 256])
def test_equals_torch_fidelity(dim: int) -> None:
    first = (rng().normal(size=(900, dim)) @ rng(1).normal(size=(dim, dim))).astype(np.float32)
    second = (rng(2).normal(size=(1400, dim)) * 1.5 + 0.3).astype(np.float32)
    found = frechet_distance(of_rows(first), of_rows(second))
    # it takes means in float32
    assert found == pytest.approx(torch_fidelity(first, second), rel=1e-5)
    assert found == pytest.approx(frechet_distance(of_rows(second), of_rows(first)), rel=1e-9)


def test_a_factor_computed_beforehand_changes_nothing() -> None:
    first, second = rng().normal(size=(500, 20)), rng(1).normal(size=(400, 20)) + 0.2
    whole = frechet_distance(of_rows(first), of_rows(second))
    ready = of_rows(first).factored()
    assert ready.factor is not None and ready.factor.shape == (20, 20)
    assert frechet_distance(ready, of_rows(second)) == pytest.approx(whole, rel=1e-12)
    assert frechet_distance(of_rows(second), ready) == pytest.approx(whole, rel=1e-12)


def test_dead_features_cost_nothing() -> None:
    rows = rng().normal(size=(50, 6))
    rows[:, 2] = 0.5
    ready = gaussian(rows.mean(axis=0), np.cov(rows, rowvar=False)).factored()
    assert ready.factor is not None and ready.factor.shape == (6, 5)
    assert frechet_distance(ready, of_rows(rows)) == pytest.approx(0.0, abs=1e-9)
    none = gaussian(np.zeros(3), np.zeros((3, 3)))
    assert frechet_distance(none, none) == 0.0


def test_what_is_not_finite_or_does_not_fit_is_refused() -> None:
    good = gaussian(np.zeros(2), np.eye(2))
    with pytest.raises(DataError, match="not finite"):
        frechet_distance(gaussian(np.array([0.0, np.nan]), np.eye(2)), good)
    with pytest.raises(DataError, match="can't be compared"):
        frechet_distance(gaussian(np.zeros(3), np.eye(3)), good)
    with pytest.raises(DataError, match="don't belong together"):
        gaussian(np.zeros(3), np.eye(2))
