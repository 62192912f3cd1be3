"""All that is random in an evaluation, as a function of its seed and what it is for."""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt

Positions = npt.NDArray[np.int64]


class Draws:
    """Generators and choices; one purpose never changes what another draws."""

    def __init__(self, seed: int) -> None:
        """Hold the seed, at least 0."""
        self.seed = seed

    def rng(self, purpose: str, turn: int = 0) -> np.random.Generator:
        """Return the generator for a purpose, in the `turn`-th sample set."""
        later = [turn] if turn else []
        return np.random.default_rng([self.seed, zlib.crc32(purpose.encode()), *later])

    def choose(self, available: int, count: int, what: str) -> Positions:
        """Return sorted positions: all, or a random part."""
        if count == available:
            return np.arange(count)
        return np.sort(self.rng(f"choose {what}").permutation(available)[:count])

    def sets(self, available: int, count: int, sets: int) -> list[Positions]:
        """Return the sorted positions of disjoint sets of `count` images each."""
        chosen = self.choose(available, count * sets, "generated")
        if sets == 1:
            return [chosen]
        parts = self.rng("sets").permutation(chosen).reshape(sets, count)
        return [np.sort(part) for part in parts]

    def kept(self, count: int, wanted: int, turn: int = 0) -> Positions:
        """Return positions of images kept: a random part, for a folder may be sorted.

        In random order, so that the first k are those that would be kept if k were wanted.
        """
        return self.rng("images", turn).permutation(count)[:wanted]
