"""The Fréchet distance of Gaussians, fast where one of them is known beforehand.

With C1 = L L', the distance needs only the eigenvalues of L' C2 L: symmetric, so real by
construction, unlike those of C1 C2. L of the reference is computed once and kept, and triangular,
which saves half of each product. If C2 is that of n <= d rows X, X'X / (n - 1), they are those of
the n x n matrix X L L' X' / (n - 1) too: exact, and for 1000 images of 2048 features several times
faster.

Source: Dowson and Landau 1982; Heusel et al. 2017 (arXiv 1706.08500), eq. 6.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gan_bench.errors import DataError
from gan_bench.evaluation.moments import Moments

# columns that are multiplied at once: blocks of zeros are left out
_BLOCK = 256


@dataclass(frozen=True)
class Gaussian:
    """A mean and a covariance C, which one or more of three things give; float64 on the CPU."""

    mean: Tensor
    """(d,)."""
    trace: float
    """Of C."""
    covariance: Tensor | None = None
    """C (d, d)."""
    rows: Tensor | None = None
    """X (n, d), n <= d, with C = X'X."""
    factor: Tensor | None = None
    """L (d, r), zero above the diagonal, with C = L L'."""

    @classmethod
    def of(cls, moments: Moments) -> Gaussian:
        """Return the Gaussian of moments, by the rows if they are at most d.

        Raises:
            DataError: There were fewer than 2 rows.
        """
        rows = moments.rows
        if rows is not None:
            rows = rows.mul_(1.0 / math.sqrt(moments.count - 1))
            flat = rows.flatten()
            return cls(moments.mean, float(flat @ flat), rows=rows)
        covariance = moments.covariance
        return cls(moments.mean, float(covariance.trace()), covariance=covariance)

    @classmethod
    def from_matrix(cls, mean: Tensor, covariance: Tensor) -> Gaussian:
        """Return the Gaussian of a mean (d,) and a symmetric covariance (d, d).

        Raises:
            DataError: The shapes don't fit.
        """
        mean, covariance = mean.to(torch.float64), covariance.to(torch.float64)
        if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)):
            raise DataError(
                f"a mean {tuple(mean.shape)} and a covariance {tuple(covariance.shape)} "
                "don't belong together"
            )
        return cls(mean, float(covariance.trace()), covariance=covariance)

    def factored(self) -> Gaussian:
        """Return the Gaussian with its factor alone, of full column rank.

        Raises:
            DataError: A number is not finite.
        """
        if self.factor is not None:
            return self
        rows = self.rows
        if rows is None:
            assert self.covariance is not None
            _require_finite(self.covariance)
            values, vectors = torch.linalg.eigh(self.covariance)
            # a covariance has no negative eigenvalue; what rounding made of zeros is left out
            floor = values.max().clamp(min=0.0) * len(values) * torch.finfo(values.dtype).eps
            kept = values > floor
            rows = (vectors[:, kept] * values[kept].sqrt()).T
        _require_finite(rows)
        _, upper = torch.linalg.qr(rows, mode="r")
        return Gaussian(self.mean, self.trace, factor=upper.T.contiguous())


def frechet_distance(first: Gaussian, second: Gaussian) -> float:
    """Return the squared Fréchet distance of two Gaussians.

    |m1 - m2|^2 + tr(C1) + tr(C2) - 2 tr((C1 C2)^(1/2)). Fast if one has its factor already.

    Returns:
        A number that is at least 0.

    Raises:
        DataError: Their dimensions differ, or a number is not finite.
    """
    if first.mean.shape != second.mean.shape:
        raise DataError(
            f"features of {len(first.mean)} and of {len(second.mean)} numbers can't be compared"
        )
    if first.factor is None and second.factor is not None:
        first, second = second, first
    factor = first.factored().factor
    assert factor is not None
    shift = first.mean - second.mean
    _require_finite(shift)
    product = _conjugated(second, factor)
    _require_finite(product)
    # reads the lower triangle only
    spectrum = torch.linalg.eigvalsh(product)
    overlap = float(spectrum.clamp(min=0.0).sqrt().sum())
    distance = float(shift @ shift) + first.trace + second.trace - 2.0 * overlap
    return max(distance, 0.0)


def _conjugated(gaussian: Gaussian, factor: Tensor) -> Tensor:
    """Return a matrix with the non-zero eigenvalues of L' C L, in its lower triangle."""
    if gaussian.covariance is not None:
        right = _times_factor(gaussian.covariance, factor)
        product = factor.new_zeros(factor.shape[1], factor.shape[1])
        for start in range(0, factor.shape[1], _BLOCK):
            part = slice(start, start + _BLOCK)
            product[part, : part.stop] = factor[start:, part].T @ right[start:, : part.stop]
        return product
    rows = gaussian.rows
    if rows is None:
        assert gaussian.factor is not None
        rows = gaussian.factor.T
    cross = _times_factor(rows, factor)
    cross = cross if cross.shape[0] <= cross.shape[1] else cross.T
    product = cross.new_zeros(len(cross), len(cross))
    for start in range(0, len(cross), _BLOCK):
        part = slice(start, start + _BLOCK)
        product[start:, part] = cross[start:] @ cross[part].T
    return product


def _times_factor(matrix: Tensor, factor: Tensor) -> Tensor:
    """Return a matrix (n, d) times a factor (d, r), without the zeros above its diagonal."""
    product = matrix.new_empty(len(matrix), factor.shape[1])
    for start in range(0, factor.shape[1], _BLOCK):
        part = slice(start, start + _BLOCK)
        product[:, part] = matrix[:, start:] @ factor[start:, part]
    return product


def _require_finite(values: Tensor) -> None:
    if not bool(torch.isfinite(values).all()):
        raise DataError("the Fréchet distance was asked of moments that are not finite")
