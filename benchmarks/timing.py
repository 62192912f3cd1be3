"""Two ways of doing the same, timed side by side in one run, as a ratio."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Comparison:
    """Median seconds of ours and of the other library."""

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
) -> Comparison:
    """Time both, after one call each that doesn't count.

    Calls are repeated in two rounds of each, not one by one: what one library's threads do after a
    call (they wait busily for more) slows the other's first call down.
    """
    mine: list[float] = []
    other: list[float] = []
    for _ in range(2):
        for call, found in ((ours, mine), (theirs, other)):
            call()
            found += [seconds(call) for _ in range(repeats)]
    return Comparison(what, against, statistics.median(mine), statistics.median(other))
