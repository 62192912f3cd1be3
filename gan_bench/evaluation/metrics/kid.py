"""Kernel Inception distance (Bińkowski et al. 2018, arXiv 1801.01401)."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gan_bench.errors import DataError, require, unknown
from gan_bench.evaluation.metrics.base import Metric, both_features
from gan_bench.evaluation.statistics import Array, FeatureStatistics, Needs
from gan_bench.precision import full_float32
from gan_bench.registry import METRICS

ESTIMATORS = ("subsets", "blocks")
MAX_BLOCK = 1024
_ROWS = 256


@METRICS.register("kid", source="Bińkowski et al. 2018, arXiv 1801.01401, section 4")
class KernelDistance(Metric):
    """Unbiased squared MMD under the kernel (x.y/d + 1)^3, averaged over parts; lower is better.

    Unbiased, so it can be slightly below 0. "subsets" are torch-fidelity's: random ones, at most
    half of the smaller side: subsets that are the whole side would all be the same, and their
    deviation a false 0; `kid_subset_size` tells the size used, and kid_std is the deviation over
    subsets. "blocks" are compare_gan's (tf.contrib.gan): as few disjoint parts of each side as have
    at most 1024 images (`kid_blocks`); kid_std is the standard error of their mean, left out where
    there is one block only. Deviation: tf.contrib.gan takes the images as they come, perhaps sorted
    by class; their order is random here, which leaves the estimate the same in law.
    """

    needs = Needs(features=True)
    figures = ("kid_mean", "kid_std")

    def __init__(
        self,
        *,
        estimator: str = "subsets",
        subsets: int = 100,
        subset_size: int = 1000,
    ) -> None:
        """Set it up.

        Args:
            estimator: "subsets" or "blocks".
            subsets: Number of random subsets that are averaged.
            subset_size: Images of each side in a subset, where there are twice as many.
        """
        if estimator not in ESTIMATORS:
            raise unknown("kid estimator", estimator, ESTIMATORS)
        require(subsets >= 1, f"kid subsets must be at least 1, not {subsets}")
        require(subset_size >= 2, f"kid subset_size must be at least 2, not {subset_size}")
        self.estimator = estimator
        self.subsets = subsets
        self.subset_size = subset_size

    def check(self, n_real: int | None, n_fake: int, shape: tuple[int, int, int] | None) -> None:
        """Refuse fewer than 4 images a side, or than 2 in each block (DataError)."""
        _require_four(n_real, n_fake)
        sides = (n_fake if n_real is None else n_real, n_fake)
        if self.estimator == "blocks" and min(sides) < 2 * _block_count(*sides):
            raise DataError(
                f"kid in blocks needs {2 * _block_count(*sides)} images a side or more, 2 a block, "
                f"not {n_real} and {n_fake}: take more equal numbers, or estimator=subsets"
            )

    def __call__(
        self,
        real: FeatureStatistics | None,
        fake: FeatureStatistics,
        rng: np.random.Generator,
    ) -> dict[str, float]:
        """Return kid_mean, kid_std and kid_subset_size or kid_blocks; see `Metric`."""
        x, y = both_features(real, fake)
        self.check(len(x), len(y), None)
        sides = _sides(x, y)
        if self.estimator == "blocks":
            count = _block_count(len(x), len(y))
            parts = [np.array_split(rng.permutation(len(side)), count) for side in sides]
            values = [_mmd(sides[0][one], sides[1][two]) for one, two in zip(*parts, strict=True)]
            found = {"kid_mean": float(np.mean(values)), "kid_blocks": count}
            if count > 1:
                found["kid_std"] = float(np.std(values, ddof=1)) / math.sqrt(count)
            return found
        size = min(self.subset_size, len(x) // 2, len(y) // 2)
        values = []
        for _ in range(self.subsets):
            one, two = (rng.choice(len(side), size, replace=False) for side in sides)
            values.append(_mmd(sides[0][one], sides[1][two]))
        return {
            "kid_mean": float(np.mean(values)),
            "kid_std": float(np.std(values)),
            "kid_subset_size": size,
        }


@METRICS.register("kid_all_pairs", source="Gretton et al. 2012, JMLR 13, eq. 3; arXiv 1801.01401")
class KernelDistanceAllPairs(Metric):
    """KID from all pairs of images at once: what `kid` estimates, with the smallest variance.

    All subsets together see only pairs that share a subset; this sees every pair once.
    """

    needs = Needs(features=True)
    figures = ("kid_all_pairs",)

    def check(self, n_real: int | None, n_fake: int, shape: tuple[int, int, int] | None) -> None:
        """Refuse fewer than 4 images a side (DataError)."""
        _require_four(n_real, n_fake)

    def __call__(
        self,
        real: FeatureStatistics | None,
        fake: FeatureStatistics,
        rng: np.random.Generator,
    ) -> dict[str, float]:
        """Return kid_all_pairs; see `Metric`."""
        x, y = both_features(real, fake)
        _require_four(len(x), len(y))
        return {"kid_all_pairs": squared_mmd(x, y)}


def squared_mmd(x: Array, y: Array) -> float:
    """Return the unbiased estimate of the squared MMD of two samples (n, d) and (m, d).

    The kernel is (c + e)^3, with c the same for all pairs and e the small rest. What the e add up
    to is taken in float64; they themselves, for their squares and cubes, are float32. So the figure
    is that of float64 arithmetic to about 1e-7 of itself, at the speed of float32. It is computed
    in blocks: memory beside the samples themselves doesn't grow with n m.

    Source: Gretton et al. 2012, eq. 3, with the kernel (x.y/d + 1)^3.
    """
    return _mmd(*_sides(x, y))


@dataclass(frozen=True)
class _Side:
    """Features less a centre c that both sides share, so that x.y/d + 1 = constant + e."""

    rows: Tensor
    """(x - c) / sqrt(d), float32 (n, d)."""
    own: Tensor
    """(x - c).c / d, float64 (n,)."""
    diagonal: Tensor
    """e of each row with itself, float64 (n,)."""
    constant: float
    """c.c / d + 1."""

    def __getitem__(self, chosen: npt.NDArray[np.int64]) -> _Side:
        index = torch.from_numpy(chosen)
        return _Side(self.rows[index], self.own[index], self.diagonal[index], self.constant)

    def __len__(self) -> int:
        return len(self.rows)

    @functools.cached_property
    def total(self) -> Tensor:
        """Sum of the rows, float64 (d,)."""
        return self.rows.sum(dim=0, dtype=torch.float64)


def _sides(x: Array, y: Array) -> tuple[_Side, _Side]:
    features = [torch.from_numpy(side) for side in (x, y)]
    means = [side.mean(dim=0, dtype=torch.float64) for side in features]
    centre = (means[0] + means[1]) / 2.0
    dim = len(centre)
    direction = centre / math.sqrt(dim)

    def prepare(side: Tensor) -> _Side:
        rows = torch.empty(side.shape, dtype=torch.float32)
        own, norms = [], []
        for start in range(0, len(side), _ROWS):
            part = (side[start : start + _ROWS].double() - centre) / math.sqrt(dim)
            rows[start : start + _ROWS] = part
            own.append(part @ direction)
            norms.append((part * part).sum(dim=1))
        shift = torch.cat(own)
        constant = float(direction @ direction) + 1.0
        return _Side(rows, shift, torch.cat(norms) + 2.0 * shift, constant)

    return prepare(features[0]), prepare(features[1])


def _mmd(first: _Side, second: _Side) -> float:
    n, m = len(first), len(second)
    with full_float32(torch.device("cpu")):
        within = _within(first) / (n * (n - 1)) + _within(second) / (m * (m - 1))
        return within - 2.0 * _between(first, second) / (n * m)


def _within(side: _Side) -> float:
    """Return the sum of the kernel over ordered pairs of different rows."""
    n = len(side)
    squares = cubes = 0.0
    for start in range(0, n, _ROWS):
        rows = slice(start, start + _ROWS)
        block = _small(side, rows, side, rows).fill_diagonal_(0.0)
        # symmetric: each block right of the diagonal stands for that below it too
        right = _small(side, rows, side, slice(start + _ROWS, None))
        for part, times in ((block, 1.0), (right, 2.0)):
            square, cube = _powers(part)
            squares, cubes = squares + times * square, cubes + times * cube
    small = (
        float(side.total @ side.total)
        + 2.0 * n * float(side.own.sum())
        - float(side.diagonal.sum())
    )
    return _expanded(n * (n - 1), side.constant, small, squares, cubes)


def _between(first: _Side, second: _Side) -> float:
    """Return the sum of the kernel over pairs of a row of each side."""
    n, m = len(first), len(second)
    squares = cubes = 0.0
    for start in range(0, n, _ROWS):
        block = _small(first, slice(start, start + _ROWS), second, slice(None))
        square, cube = _powers(block)
        squares, cubes = squares + square, cubes + cube
    own = m * float(first.own.sum()) + n * float(second.own.sum())
    return _expanded(n * m, first.constant, float(first.total @ second.total) + own, squares, cubes)


def _small(first: _Side, rows: slice, second: _Side, columns: slice) -> Tensor:
    """Return e for pairs of rows, float32."""
    shift = first.own[rows, None].float() + second.own[None, columns].float()
    return shift.addmm_(first.rows[rows], second.rows[columns].T)


def _powers(small: Tensor) -> tuple[float, float]:
    """Return the sums of squares and of cubes."""
    squares = small * small
    total = float(squares.sum(dtype=torch.float64))
    return total, float(squares.mul_(small).sum(dtype=torch.float64))


def _expanded(pairs: int, c: float, first: float, second: float, third: float) -> float:
    """Return the sum of (c + e)^3 over pairs, given those of e, e^2 and e^3."""
    return pairs * c**3 + 3.0 * c**2 * first + 3.0 * c * second + third


def _block_count(n_real: int, n_fake: int) -> int:
    return math.ceil(max(n_real, n_fake) / MAX_BLOCK)


def _require_four(n_real: int | None, n_fake: int) -> None:
    if min(n_fake, n_fake if n_real is None else n_real) < 4:
        raise DataError(f"kid needs 4 images a side or more, not {n_real} and {n_fake}")
