"""The records of a report: what is optimized, what was planned, and one trial."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gan_bench.metric_keys import find


@dataclass(frozen=True)
class Objective:
    """What the study optimizes: a metric key, "min" or "max", at the "best" or "final" step."""

    metric: str
    mode: str = "min"
    at: str = "best"

    def key(self, measured: Mapping[str, Any]) -> str:
        """Return the metric's key among measured ones: a stem such as fid finds fid_digits_cnn."""
        return find(measured, self.metric) or self.metric

    def cost(self, value: float) -> float:
        """Return a number that is lower for a better value."""
        return value if self.mode == "min" else -value


def setting_key(settings: Mapping[str, Any], names: Iterable[str] | None = None) -> str:
    """Return a string that is equal for equal settings, of the names given or of all."""
    chosen = settings if names is None else {name: settings[name] for name in names}
    return json.dumps(chosen, sort_keys=True, default=str)


@dataclass(frozen=True)
class CellPlan:
    """A cell as the study planned it."""

    name: str
    axes: dict[str, Any] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()


@dataclass
class Trial:
    """One training run: what was proposed, how it ended and what was measured."""

    trial_id: str
    cell: str
    axes: dict[str, Any]
    settings: dict[str, Any]
    source: str | None
    index: int | None
    seed: int | None
    overrides: tuple[str, ...]
    folder: Path
    status: str = "proposed"
    """completed, stopped (early), diverged, failed; proposed, running; unreadable (ended, but no
    result)."""
    objective: float | None = None
    error: str | None = None
    final: dict[str, float] = field(default_factory=dict)
    best: dict[str, float] = field(default_factory=dict)
    best_step: int | None = None
    counts: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    method: dict[str, Any] = field(default_factory=dict)
    """Names of its parts, and the hyper-parameters by the names of published tables."""
    facts: dict[str, str] = field(default_factory=dict)
    """How it was measured: n_real, n_fake, split, extractor, ..."""
    protocol: str | None = None
    dataset: str | None = None
    device: str | None = None
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def ranked(self) -> bool:
        """Whether it takes part in the comparison: completed, with a finite objective."""
        return self.status == "completed" and self.objective is not None

    @property
    def judged(self) -> bool:
        """Whether it says something of its method; a fault of the machine doesn't."""
        return self.ranked or self.status in ("diverged", "stopped")

    def cost(self, objective: Objective) -> float:
        """Return a number that is lower for a better trial, infinite for one without a rank."""
        if not self.ranked or self.objective is None:
            return float("inf")
        return objective.cost(self.objective)

    def measured(self, objective: Objective) -> dict[str, float]:
        """Return the metrics at the step that the objective looks at."""
        return (self.best or self.final) if objective.at == "best" else self.final
