"""When to stop: a study's budget, and the point from which a cell's search gains no more."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from gan_bench.errors import require
from gan_bench.sweep.engines.base import CAUSES
from gan_bench.sweep.store import TrialStore


@dataclasses.dataclass
class Budget:
    """What a study may use; at its end no trial is started any more, and those running end."""

    trials: int | None = None
    gpu_hours: float | None = None
    """Hours of devices that trials hold; a trial on the CPU counts as one device."""
    wall_hours: float | None = None
    """Hours in which drivers are at work."""

    def __post_init__(self) -> None:
        """Refuse values out of range (ConfigError)."""
        for name in ("trials", "gpu_hours", "wall_hours"):
            value = getattr(self, name)
            require(value is None or value > 0, f"budget.{name} is {value}; it must be above 0")

    def used_up(self, store: TrialStore) -> str | None:
        """Say which hours are used up; None: there are some left.

        The planner counts the trials, for it alone knows which it has yet to start.
        """
        for name, value in (("gpu_hours", store.gpu_hours), ("wall_hours", store.wall_hours)):
            limit = getattr(self, name)
            if limit is not None and value >= limit:
                return f"budget.{name}={limit:g} is used up"
        return None


@dataclasses.dataclass
class StopRules:
    """When the search in a cell ends before its last trial."""

    patience: int | None = None
    """Settings in a row that bring no better value."""
    target: float | None = None
    """A value of the objective that is good enough."""

    def __post_init__(self) -> None:
        """Refuse values out of range (ConfigError)."""
        require(
            self.patience is None or self.patience >= 1,
            f"stop.patience is {self.patience}; it must be at least 1",
        )

    def reached(self, values: Sequence[float | None], sign: float) -> str | None:
        """Say why a cell's search ends.

        Args:
            values: Of its finished settings, in order, lower is better; None: it failed.
            sign: 1 where the objective is minimized, else -1: `values` are sign * objective.
        """
        best, since = None, 0
        for value in values:
            since += 1
            if value is not None and (best is None or value < best):
                best, since = value, 0
        if self.target is not None and best is not None and best <= sign * self.target:
            return f"stop.target={self.target:g} is reached"
        if self.patience is not None and since >= self.patience:
            return f"nothing better in {since} settings (stop.patience)"
        return None


@dataclasses.dataclass
class Retries:
    """How often a trial is started again after each cause of an interruption.

    A trial that ran out of memory would do so again, and a fault of its own is its result.
    """

    preempted: int = 1000
    timeout: int = 1000
    lost: int = 3
    out_of_memory: int = 0
    error: int = 0

    def __post_init__(self) -> None:
        """Refuse values out of range (ConfigError)."""
        for cause in CAUSES:
            value = getattr(self, cause)
            require(value >= 0, f"retries.{cause} is {value}; it can't be negative")
