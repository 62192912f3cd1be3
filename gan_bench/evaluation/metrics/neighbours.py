"""Which images lie near which: distances in blocks, radii to the k-th neighbour, counts.

Float64: by the expansion of the square, distances of near images would drown in float32 rounding.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from gan_bench.errors import DataError
from gan_bench.evaluation.statistics import Array

# rows of distances at once: more fall out of the caches, fewer slow wide products down
_ROWS = 128


def centred(x: Array, y: Array) -> tuple[Tensor, Tensor]:
    """Return both sides' features in float64 about the mean of the first.

    Distances don't change, and rounding hurts least near the origin.
    """
    first, second = (torch.from_numpy(side).to(torch.float64, copy=True) for side in (x, y))
    centre = first.mean(dim=0)
    return first.sub_(centre), second.sub_(centre)


def require_neighbours(metric: str, k: int, n_real: int | None, n_fake: int) -> None:
    """Refuse sides without a k-th neighbour (DataError)."""
    if min(n_fake, n_fake if n_real is None else n_real) <= k:
        raise DataError(
            f"{metric} with k={k} needs {k + 1} images a side or more, not {n_real} and {n_fake}"
        )


def radii(centres: Tensor, k: int) -> Tensor:
    """Return the squared distance (n,) of each row (n, d) to its k-th neighbour."""
    # the nearest one is the row itself, at distance 0
    found = [block.topk(k + 1, dim=1, largest=False).values[:, k] for _, block in blocks(centres)]
    return torch.cat(found)


def blocks(x: Tensor, y: Tensor | None = None) -> Iterator[tuple[slice, Tensor]]:
    """Yield slices of the rows of x (n, d) and their squared distances to y (m, d); to x itself.

    Distances below the rounding error of the expansion are made exactly 0, so that equal rows are
    at distance 0.
    """
    other = x if y is None else y
    norms = (other * other).sum(dim=1)
    for start in range(0, len(x), _ROWS):
        rows = x[start : start + _ROWS]
        scale = (rows * rows).sum(dim=1)[:, None] + norms
        squares = torch.addmm(scale, rows, other.T, alpha=-2.0)
        squares[squares < scale.mul_(1e-13)] = 0.0
        yield slice(start, start + len(rows)), squares
