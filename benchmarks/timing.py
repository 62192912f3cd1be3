"""Two ways of doing the same, timed side by side in one run, as a ratio."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Comparison:
    """Median seconds of ours and of the other library, taken in turns."""

    what: str
    against: str
    ours: float
    theirs: float

    @property
    def ratio(self) -> float:
        """How many times faster ours is."""
        return self.theirs / self.ours

    def __str__(self) -> str:
        return (
            f"{self.what:<58} {self.ours:9.4f} s  {self.against:<16} {self.theirs:9.4f} s  "
            f"{self.ratio:6.2f} x"
        )


def seconds(call: Callable[[], Any]) -> float:
    """Return the wall-clock seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def compare(
    what: str,
    ours: Callable[[], Any],
    against: str,
    theirs: Callable[[], Any],
    *,
    repeats: int = 5,
    warm: bool = True,
) -> Comparison:
    """Time both in turns, after one call each that doesn't count (`warm`)."""
    if warm:
        ours(), theirs()
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(repeats)]
    mine, other = zip(*pairs, strict=True)
    return Comparison(what, against, statistics.median(mine), statistics.median(other))
