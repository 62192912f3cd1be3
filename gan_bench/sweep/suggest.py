"""Which setting to try next: a Gaussian-process bandit (GP-UCB), and random search.

A suggester is a function of what it was told: asked again after a replay of the same history, it
gives the same point. So nothing is pickled, and an interrupted study goes on as if it had not
been. Lower values are better; None is a trial that failed or diverged.

Decisions, for the GP (Srinivas et al. 2010; The GAN Landscape, arXiv 1807.04720):
- The model is fitted anew, to the ordered history, at every ask. scikit-optimize has no pending
  points and never forgets a NaN, so nothing but finite values reaches it.
- A failure is told the worst finite value known at that time: bad, without bending the scale.
- A pending point is told the median of the known values (a constant liar that neither attracts
  nor repels): its variance is gone, so the next point is elsewhere.
- Where all known values are positive it models their log10: FID spans decades, and the spread
  among good settings matters more than that among bad ones.
"""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from gan_bench import files
from gan_bench.errors import require, unknown
from gan_bench.sweep.space import Choice, Settings, Space

_DRAWS = 1000
"""Draws before a space is taken for exhausted; then a finite one is listed."""
_LISTED = 100_000


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
        self._told: list[tuple[Settings, float | None]] = []

    def tell(self, settings: Settings, value: float | None) -> None:
        """Add an observation; see `Suggester.tell`."""
        self._seen.add(files.digest(settings))
        if settings in self.space:
            finite = value is not None and math.isfinite(value)
            self._told.append((settings, value if finite else None))

    def ask(self, pending: Sequence[Settings] = ()) -> Settings | None:
        """Return a new setting; see `Suggester.ask`."""
        taken = self._seen | {files.digest(settings) for settings in pending}
        return self._draw(taken, self._rng(pending))

    def _rng(self, pending: Sequence[Settings]) -> np.random.Generator:
        count = len(self._seen) + len(pending)
        return np.random.default_rng(int(files.digest([self._key, count]), 16))

    def _draw(self, taken: set[str], rng: np.random.Generator) -> Settings | None:
        """Draw a setting that is not taken; None when there is none."""
        for _ in range(_DRAWS if self.space.dimensions else 0):
            settings = self.space.sample(rng)
            if files.digest(settings) not in taken:
                return settings
        if self.space.size is None:
            return None
        left = [s for s in self.space.enumerate(_LISTED) if files.digest(s) not in taken]
        return left[int(rng.integers(len(left)))] if left else None


class GaussianProcessSuggester(RandomSuggester):
    """GP bandit by scikit-optimize: the minimum of mean - kappa * standard deviation."""

    def __init__(
        self, space: Space, *, key: str = "", kappa: float = 1.96, random_starts: int = 5
    ) -> None:
        """Start without observations.

        Args:
            space: Where to search.
            key: Names the sequence of random numbers (study, cell).
            kappa: How much uncertainty attracts.
            random_starts: Observed and pending points before the model is used.
        """
        super().__init__(space, key=key)
        self._kappa = kappa
        self._random_starts = random_starts

    def ask(self, pending: Sequence[Settings] = ()) -> Settings | None:
        """Return the model's next point; a random one at first and where it would repeat."""
        rng = self._rng(pending)
        taken = self._seen | {files.digest(settings) for settings in pending}
        inside = [settings for settings in pending if settings in self.space]
        values = self._imputed()
        if values and self.space.dimensions and len(values) + len(inside) >= self._random_starts:
            points = [settings for settings, _ in self._told] + inside
            lies = [statistics.median(values)] * len(inside)
            settings = self._model_minimum(points, values + lies, rng)
            if files.digest(settings) not in taken:
                return settings
        return self._draw(taken, rng)

    def _imputed(self) -> list[float]:
        """Return a finite value for each observation; none if no trial has succeeded."""
        known = [value for _, value in self._told if value is not None]
        if not known:
            return []
        worst = max(known)
        values = [worst if value is None else value for _, value in self._told]
        return [math.log10(value) for value in values] if min(values) > 0 else values

    def _model_minimum(
        self, points: list[Settings], values: list[float], rng: np.random.Generator
    ) -> Settings:
        from skopt import Optimizer

        categorical = any(isinstance(d, Choice) for d in self.space.dimensions.values())
        optimizer = Optimizer(
            self.space.to_skopt(),
            base_estimator="GP",
            n_initial_points=0,
            acq_func="LCB",
            # gradients through one-hot categories lead to corners that no option has
            acq_optimizer="sampling" if categorical else "lbfgs",
            acq_func_kwargs={"kappa": self._kappa},
            random_state=int(rng.integers(2**31)),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # length scales at their bounds: usual with few points
            optimizer.tell([self.space.to_point(point) for point in points], values)
            return self.space.from_point(optimizer.ask())


SUGGESTERS: dict[str, Callable[..., Suggester]] = {
    "gaussian_process": GaussianProcessSuggester,
    "random": RandomSuggester,
}


def build_suggester(name: str, space: Space, *, key: str, **options: Any) -> Suggester:
    """Build a suggester by name.

    Args:
        name: gaussian_process or random.
        space: Where to search.
        key: Names the sequence of random numbers.
        options: kappa, random_starts.

    Raises:
        ConfigError: The name is unknown or an option out of range.
    """
    if name not in SUGGESTERS:
        raise unknown("suggester", name, SUGGESTERS)
    require(options.get("kappa", 0.0) >= 0, "settings.bandit.kappa can't be negative")
    return SUGGESTERS[name](space, key=key, **options)
