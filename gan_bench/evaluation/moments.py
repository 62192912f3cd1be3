"""Mean and covariance of a stream of features, in float64 and in memory that no N changes.

In float32 the Fréchet distance of nearly singular covariances is wrong by tens of points.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gan_bench.errors import DataError

# rows that are summed up at once, and columns of the scatter matrix: as much as caches hold
_ROWS = 512
_BLOCK = 256


class Moments:
    """Mean and covariance of rows (n, d) that come in batches.

    The rows themselves are kept as long as they are no more than the d x d numbers of a
    covariance: a covariance of fewer rows than dimensions is worth its rows (see `rows`), and
    large products are faster than many small ones.

    Sums are taken about the mean of the first rows, not about 0, so that their error doesn't grow
    with the size of the mean (Chan, Golub and LeVeque 1983, section 2: shifted data).
    """

    def __init__(self) -> None:
        """Start with no rows."""
        self.count = 0
        self._waiting: list[Tensor] = []
        self._waiting_rows = 0
        self._shift: Tensor | None = None
        self._sum: Tensor | None = None
        self._scatter: Tensor | None = None

    def update(self, rows: Tensor) -> None:
        """Add rows (n, d) of any floating type, on the device of all the others; n may be 0."""
        if not len(rows):
            return
        self._waiting.append(rows)
        self._waiting_rows += len(rows)
        self.count += len(rows)
        if self._waiting_rows > rows.shape[1] and self._waiting_rows >= _ROWS:
            self._fold()

    @property
    def mean(self) -> Tensor:
        """Mean (d,), float64 on the CPU.

        Raises:
            DataError: There were no rows.
        """
        if self._scatter is None:
            return self._kept().mean(dim=0)
        self._fold()
        assert self._shift is not None and self._sum is not None
        return (self._shift + self._sum / self.count).cpu()

    @property
    def rows(self) -> Tensor | None:
        """Centred rows X (n, d) with covariance X'X / (n - 1), if there are at most d; else None.

        Raises:
            DataError: There were fewer than 2 rows.
        """
        self._require_two()
        if self._scatter is not None or self._waiting_rows > self._waiting[0].shape[1]:
            return None
        kept = self._kept()
        return kept.sub_(kept.mean(dim=0))

    @property
    def covariance(self) -> Tensor:
        """Covariance (d, d) with count - 1 in the denominator, float64 on the CPU.

        Raises:
            DataError: There were fewer than 2 rows.
        """
        self._require_two()
        self._fold()
        assert self._sum is not None and self._scatter is not None
        for start in range(_BLOCK, len(self._scatter), _BLOCK):
            self._scatter[:start, start : start + _BLOCK] = self._scatter[
                start : start + _BLOCK, :start
            ].T
        offset = self._sum / self.count
        share = 1.0 / (self.count - 1)
        covariance = torch.addr(
            self._scatter, offset, offset, beta=share, alpha=-self.count * share
        )
        return covariance.cpu()

    def _require_two(self) -> None:
        if self.count < 2:
            raise DataError(f"a covariance needs 2 images or more, not {self.count}")

    def _kept(self) -> Tensor:
        if not self._waiting:
            raise DataError("the mean of no images at all was asked for")
        return torch.cat([rows.to("cpu", torch.float64) for rows in self._waiting])

    def _fold(self) -> None:
        """Turn the waiting rows into sums."""
        group: list[Tensor] = []
        for rows in self._waiting:
            group.append(rows)
            if sum(map(len, group)) >= _ROWS:
                self._add(group)
                group = []
        if group:
            self._add(group)
        self._waiting, self._waiting_rows = [], 0

    def _add(self, group: list[Tensor]) -> None:
        whole = group[0] if len(group) == 1 else torch.cat(group)
        for start in range(0, len(whole), _ROWS):
            self._add_rows(whole[start : start + _ROWS])

    def _add_rows(self, given: Tensor) -> None:
        if self._scatter is None or self._shift is None or self._sum is None:
            dim = given.shape[1]
            self._shift = given.mean(dim=0, dtype=torch.float64)
            self._sum = torch.zeros_like(self._shift)
            self._scatter = self._shift.new_zeros(dim, dim)
        rows = given.to(torch.float64, copy=True).sub_(self._shift)
        self._sum += rows.sum(dim=0)
        # symmetric: the blocks on and below the diagonal are enough
        for start in range(0, rows.shape[1], _BLOCK):
            part = slice(start, start + _BLOCK)
            self._scatter[start:, part].addmm_(rows[:, start:].T, rows[:, part])
