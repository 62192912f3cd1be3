"""Asynchronous successive halving: poor trials are stopped early (Li et al., arXiv 1810.05934).

Rungs stand at min_steps * eta^k generator steps. A trial that reaches one goes on if it is among
the best 1/eta of its cell's trials that have reached it so far (at least the best one), by its
objective at that evaluation. This is the stopping variant: nothing is paused and promoted later.
Cells are not compared: each is to have its own best.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

from gan_bench import files
from gan_bench.errors import require
from gan_bench.metric_keys import find
from gan_bench.sweep.objective import Objective
from gan_bench.sweep.store import Trial, TrialStore


@dataclasses.dataclass
class EarlyStopping:
    """The rule."""

    eta: float = 3.0
    """One in eta goes on from each rung."""
    min_steps: int = 1000
    """Generator steps of the lowest rung; trials need evaluations there and beyond."""

    def __post_init__(self) -> None:
        """Refuse values out of range (ConfigError)."""
        require(self.eta > 1, f"early_stopping.eta is {self.eta}; it must be above 1")
        require(
            self.min_steps >= 1,
            f"early_stopping.min_steps is {self.min_steps}; it must be at least 1",
        )


class Halving:
    """Watches what trials measure, and says which of them should stop."""

    def __init__(self, rule: EarlyStopping, objective: Objective, store: TrialStore) -> None:
        """Take in what the trials of earlier drivers have measured.

        Args:
            rule: Where the rungs are.
            objective: What trials are compared by.
            store: The study's trials.
        """
        self._rule, self._objective, self._store = rule, objective, store
        self._rungs: dict[tuple[str, int], dict[str, float]] = {}
        self._sizes: dict[str, int] = {}
        for trial in store.trials.values():
            self.poor(trial)

    def poor(self, trial: Trial) -> str | None:
        """Say why a trial should stop; None if it should go on, or has measured nothing new."""
        path = self._store.folder(trial.trial_id) / "evaluations.jsonl"
        size = path.stat().st_size if path.exists() else 0
        if size == self._sizes.get(trial.trial_id, 0):
            return None
        self._sizes[trial.trial_id] = size
        verdict = None
        for rung, value in self._reached(path).items():
            values = self._rungs.setdefault((trial.cell, rung), {})
            if trial.trial_id in values:
                continue
            values[trial.trial_id] = value
            place = sum(other < value for other in values.values())
            if place >= math.ceil(len(values) / self._rule.eta):
                step = self._step(rung)
                verdict = f"place {place + 1} of {len(values)} in its cell at step {step}"
        return verdict

    def _reached(self, path: Path) -> dict[int, float]:
        """Return rung -> value (lower is better) of a trial's evaluations."""
        found: dict[int, float] = {}
        best, rung = math.inf, 0
        for line in files.read_jsonl(path):
            key = find(line, self._objective.metric)
            if line.get("source") != "train" or key is None:
                continue
            measured = line[key]
            value = math.inf if measured is None else self._objective.sign * measured
            best = min(best, value)
            while line["step"] >= self._step(rung):
                found[rung] = best if self._objective.at == "best" else value
                rung += 1
        return found

    def _step(self, rung: int) -> int:
        return math.ceil(self._rule.min_steps * self._rule.eta**rung)
