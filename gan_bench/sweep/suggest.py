"""Which setting to try next: by a grid, at random, by a Sobol sequence, or by a Gaussian process.

A suggester is a function of what it was told: asked again after a replay of the same history, it
gives the same point. So nothing is pickled, and an interrupted study goes on as if it had not
been. Lower values are better; None is a trial that failed or diverged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from scipy.stats import qmc
from threadpoolctl import threadpool_limits

from gan_bench import files
from gan_bench.errors import require, unknown
from gan_bench.sweep.space import Interval, Settings, Space

_DRAWS = 1000
"""Draws before a space is taken for exhausted; then a finite one is listed."""
_LISTED = 100_000

Observation = tuple[Settings, float | None]


class Suggester(Protocol):
    """Ask and tell, for one cell."""

    def ask(self, pending: Sequence[Settings] = ()) -> Settings | None:
        """Return a setting not seen yet, or None when the space has no more.

        Args:
            pending: Settings proposed before whose value is not known yet.
        """
        ...

    def tell(self, settings: Settings, value: float | None) -> None:
        """Add an observation.

        Args:
            settings: In the space; others are remembered so as not to be repeated.
            value: Lower is better; None (or a value that is not finite): it failed.
        """
        ...


class RandomSuggester:
    """Uniform draws, on the log scale where a dimension has one."""

    def __init__(self, space: Space, *, key: str = "", **_: Any) -> None:
        """Start without observations.

        Args:
            space: Where to search.
            key: Names the sequence of random numbers (study, cell).
        """
        self.space = space
        self._key = key
        self._seen: set[str] = set()
        self._told: list[Observation] = []

    def tell(self, settings: Settings, value: float | None) -> None:
        """Add an observation; see `Suggester.tell`."""
        self._seen.add(files.digest(settings))
        if settings in self.space:
            finite = value is not None and math.isfinite(value)
            self._told.append((settings, value if finite else None))

    def ask(self, pending: Sequence[Settings] = ()) -> Settings | None:
        """Return a new setting; see `Suggester.ask`."""
        return self._first_new(self._taken(pending), self._draws(pending))

    def _taken(self, pending: Sequence[Settings]) -> set[str]:
        return self._seen | {files.digest(settings) for settings in pending}

    def _draws(self, pending: Sequence[Settings]) -> Iterator[Settings]:
        rng = self._rng(pending)
        for _ in range(_DRAWS):
            yield self.space.sample(rng)

    def _rng(self, pending: Sequence[Settings]) -> np.random.Generator:
        return np.random.default_rng(self._seed(len(self._seen) + len(pending)))

    def _seed(self, *parts: object) -> int:
        return int(files.digest([self._key, *parts]), 16)

    def _first_new(self, taken: set[str], draws: Iterator[Settings]) -> Settings | None:
        """Return the first setting that is not taken; None when there is none."""
        for settings in draws if self.space.dimensions else ():
            if files.digest(settings) not in taken:
                return settings
        if self.space.size is None:
            return None
        left = [s for s in self.space.enumerate(_LISTED) if files.digest(s) not in taken]
        rng = np.random.default_rng(self._seed(len(taken)))
        return left[int(rng.integers(len(left)))] if left else None


class SobolSuggester(RandomSuggester):
    """A scrambled Sobol sequence (Owen 1998), which fills the space more evenly than chance."""

    def _draws(self, pending: Sequence[Settings]) -> Iterator[Settings]:
        return self._sequence(len(self._seen) + len(pending))

    def _sequence(self, start: int) -> Iterator[Settings]:
        """Yield the sequence from a position on; the sequence is the key's."""
        names = list(self.space.dimensions)
        sequence = qmc.Sobol(len(names), scramble=True, rng=self._seed("sobol") % 2**32)
        if start:  # which scipy refuses for 0
            sequence.fast_forward(start)
        for _ in range(_DRAWS):
            (point,) = sequence.random(1)
            yield self.space.at({name: float(x) for name, x in zip(names, point, strict=True)})


class GridSuggester(RandomSuggester):
    """Every setting of a finite space, in order; intervals are cut into evenly spaced points."""

    def __init__(self, space: Space, *, key: str = "", points: int = 5, **_: Any) -> None:
        """Start without observations.

        Args:
            space: Where to search.
            key: Not needed: nothing is random.
            points: Values taken of each interval that has no end of them, its ends included,
                evenly spaced on its scale.
        """
        super().__init__(space, key=key)
        values = {
            name: [dimension.at(n / max(1, points - 1)) for n in range(points)]
            if isinstance(dimension, Interval) and dimension.size is None
            else dimension.values()
            for name, dimension in space.dimensions.items()
        }
        self._grid = Space.parse(values)

    def ask(self, pending: Sequence[Settings] = ()) -> Settings | None:
        """Return the first setting of the grid that is not taken; see `Suggester.ask`."""
        taken = self._taken(pending)
        grid = self._grid.enumerate(_LISTED) if self.space.dimensions else iter(())
        return next((each for each in grid if files.digest(each) not in taken), None)


def _gaussian_process(space: Space, **options: Any) -> Suggester:
    from gan_bench.sweep.gaussian_process import GaussianProcessSuggester  # skopt takes a second

    return GaussianProcessSuggester(space, **options)


SUGGESTERS: dict[str, Callable[..., Suggester]] = {
    "gaussian_process": _gaussian_process,
    "gp": _gaussian_process,
    "grid": GridSuggester,
    "random": RandomSuggester,
    "sobol": SobolSuggester,
}
ACQUISITIONS = ("lcb", "ei", "hedge")


def build_suggester(name: str, space: Space, *, key: str, **options: Any) -> Suggester:
    """Build a suggester by name.

    Args:
        name: gaussian_process (gp), random, sobol or grid.
        space: Where to search.
        key: Names the sequence of random numbers.
        options: acquisition (lcb, ei, hedge), kappa, xi, random_starts, points; each takes what
            it knows.

    Raises:
        ConfigError: The name is unknown or an option out of range.
    """
    if name not in SUGGESTERS:
        raise unknown("suggester", name, SUGGESTERS)
    require(options.get("kappa", 0.0) >= 0, "settings.bandit.kappa can't be negative")
    if options.get("acquisition", "lcb") not in ACQUISITIONS:
        raise unknown("settings.bandit.acquisition", options["acquisition"], ACQUISITIONS)
    return SUGGESTERS[name](space, key=key, **options)


def suggest(
    name: str,
    space: Space,
    key: str,
    options: dict[str, Any],
    history: Sequence[Observation],
    pending: Sequence[Settings],
) -> Settings | None:
    """Return the next setting after a history, on one thread.

    Args:
        name: See `build_suggester`.
        space: Where to search.
        key: Names the sequence of random numbers.
        options: See `build_suggester`.
        history: What to tell, in order.
        pending: See `Suggester.ask`.
    """
    suggester = build_suggester(name, space, key=key, **options)
    for settings, value in history:
        suggester.tell(settings, value)
    with threadpool_limits(1):
        return suggester.ask(pending)
