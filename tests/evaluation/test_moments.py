"""Moments of a stream against numpy, whatever the batches and the memory they are kept in."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gan_bench.errors import DataError
from gan_bench.evaluation import moments as module
from gan_bench.evaluation.moments import Moments


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def moments_of(rows: np.ndarray, sizes: tuple[int, ...] | None = None) -> Moments:
    found, start = Moments(), 0
    for size in sizes or (len(rows),):
        found.update(torch.from_numpy(rows[start : start + size]))
        start += size
    return found


@pytest.mark.parametrize("sizes", [(100,), (1,) * 100, (3, 0, 47, 1, 49), (99, 1)])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_moments_of_odd_chunks_equal_numpy(sizes: tuple[int, ...], offset: float) -> None:
    rows = rng().normal(size=(100, 5)) @ rng(1).normal(size=(5, 5)) + offset
    found = moments_of(rows, sizes)
    assert found.count == 100
    np.testing.assert_allclose(found.mean, rows.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(found.covariance, np.cov(rows, rowvar=False), atol=1e-9)


def test_what_is_summed_up_on_the_way_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = rng().normal(size=(700, 30)) @ rng(1).normal(size=(30, 30)) + 50.0
    monkeypatch.setattr(module, "_ROWS", 64)
    monkeypatch.setattr(module, "_BLOCK", 7)
    found = moments_of(rows, (10, 300, 1, 389))
    np.testing.assert_allclose(found.mean, rows.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(found.covariance, np.cov(rows, rowvar=False), rtol=1e-10, atol=1e-9)
    # asking does not disturb what comes later
    more = rng(2).normal(size=(90, 30))
    found.update(torch.from_numpy(more))
    both = np.concatenate([rows, more])
    np.testing.assert_allclose(found.covariance, np.cov(both, rowvar=False), rtol=1e-9, atol=1e-9)


def test_moments_are_float64_of_float32_rows() -> None:
    rows = (rng().normal(size=(500, 3)) * 1e-3 + 100.0).astype(np.float32)
    expected = np.cov(rows.astype(np.float64), rowvar=False)
    np.testing.assert_allclose(moments_of(rows, (7,) * 72).covariance, expected, rtol=1e-9)


def test_rows_are_kept_while_they_are_no_more_than_dimensions() -> None:
    rows = rng().normal(size=(8, 8)) + 3.0
    kept = moments_of(rows).rows
    assert kept is not None
    np.testing.assert_allclose(kept, rows - rows.mean(axis=0), atol=1e-14)
    np.testing.assert_allclose(kept.T @ kept / 7, np.cov(rows, rowvar=False), atol=1e-14)
    assert moments_of(rng().normal(size=(9, 8))).rows is None


def test_memory_does_not_grow_with_the_number_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ROWS", 64)
    found = Moments()
    for seed in range(50):
        found.update(torch.from_numpy(rng(seed).normal(size=(20, 6))))
        assert found._waiting_rows <= 84
    assert found.count == 1000


def test_moments_of_too_few_rows() -> None:
    found = Moments()
    with pytest.raises(DataError, match="no images"):
        _ = found.mean
    found.update(torch.ones(1, 2))
    for name in ("covariance", "rows"):
        with pytest.raises(DataError, match="2 images"):
            getattr(found, name)
