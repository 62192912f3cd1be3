"""The journal of a study: trials.jsonl, append-only, with one writer.

    {"event": "driver", "engine", "options", "host", "pid", "time"}
    {"event": "proposed", "trial_id", "cell", "axes", "settings", "source": "fixed|bandit",
     "index", "seed", "overrides", "time"}
    {"event": "submitted", "trial_id", "engine", "job_id", "time"}
    {"event": "interrupted", "trial_id", "cause", "error", "time"}
    {"event": "finished", "trial_id", "status", "objective", "metrics", "error", "gpu_hours",
     "time"}

`index` counts the settings of one cell and source. An interrupted trial has no result, and is
submitted again while its cause allows it. A trial that is submitted again after it has finished
is open again; the last finish counts. Lines are on the disk before what they announce happens, so
a driver that was killed finds on its next start all that it had begun.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gan_bench import files
from gan_bench.sweep.job import now
from gan_bench.sweep.objective import Objective
from gan_bench.sweep.space import Settings

JOURNAL = "trials.jsonl"
TRIALS = "trials"
"""Folder of the run directories."""

STATUSES = ("completed", "stopped", "diverged", "failed")
"""How a trial can end. stopped: early, by successive halving, with what it measured till then."""


@dataclasses.dataclass
class Trial:
    """One setting of one cell with one seed, and what has become of it."""

    trial_id: str
    cell: str
    axes: dict[str, str]
    settings: Settings
    source: str
    """fixed or bandit."""
    index: int
    seed: int
    overrides: list[str]
    """All that was composed beyond the study's base."""
    engine: str | None = None
    """The engine that last took it."""
    job_id: str | None = None
    status: str | None = None
    """One of `STATUSES`; None: not finished."""
    objective: float | None = None
    """The study's metric, as measured (not negated); None unless completed or stopped."""
    metrics: dict[str, Any] = dataclasses.field(default_factory=dict)
    error: str | None = None
    gpu_hours: float = 0.0
    """Hours that it held a device (or the CPU slot in its place), as its result tells."""
    state: str = "proposed"
    """proposed, submitted, a cause of interruption (preempted, lost, ...), or the status."""
    interruptions: dict[str, int] = dataclasses.field(default_factory=dict)
    """Cause -> how often."""

    @property
    def finished(self) -> bool:
        """Whether it has a status."""
        return self.status is not None


_PROPOSED = ("trial_id", "cell", "axes", "settings", "source", "index", "seed", "overrides")


class TrialStore:
    """The trials of a study directory, in the order in which they were proposed."""

    def __init__(self, study_dir: Path) -> None:
        """Replay the journal, if there is one.

        Args:
            study_dir: The study directory.
        """
        self._path = study_dir / JOURNAL
        self._folder = study_dir / TRIALS
        self.trials: dict[str, Trial] = {}
        self.states: collections.Counter[str] = collections.Counter()
        """How many trials are in each state."""
        self.gpu_hours = 0.0
        """What finished trials took."""
        self.wall_hours = 0.0
        """How long drivers were at work."""
        self.driver: dict[str, Any] = {}
        """The last driver's event."""
        self._groups: dict[str, dict[tuple[bool, int], list[Trial]]] = {}
        self._last_time: datetime.datetime | None = None
        for record in files.read_jsonl(self._path):
            self._apply(record)

    @property
    def done(self) -> int:
        """How many trials have finished."""
        return sum(self.states[status] for status in STATUSES)

    def folder(self, trial_id: str) -> Path:
        """Return a trial's run directory."""
        return self._folder / trial_id

    def settings_of(self, cell: str) -> list[list[Trial]]:
        """Return a cell's trials, those of one setting together, in the order of the plan.

        Not in the order in which they finished: that may differ from run to run.
        """
        groups = self._groups.get(cell, {})
        return [groups[key] for key in sorted(groups)]

    def group(self, cell: str, source: str, index: int) -> list[Trial]:
        """Return the trials of one setting, one for each of its seeds proposed so far."""
        return self._groups.get(cell, {}).get((source == "bandit", index), [])

    def begin(self, engine: str, options: dict[str, Any], host: str, pid: int) -> None:
        """Note that a driver starts its work."""
        record = {"engine": engine, "options": options, "host": host, "pid": pid}
        self._write([("driver", record)])

    def propose(self, trials: Iterable[Trial]) -> list[Trial]:
        """Add trials; return them as the store keeps them."""
        records = [
            ("proposed", {name: getattr(trial, name) for name in _PROPOSED}) for trial in trials
        ]
        self._write(records)
        return [self.trials[record["trial_id"]] for _, record in records]

    def submit(self, engine: str, jobs: Iterable[tuple[str, str]]) -> None:
        """Note that an engine has taken trials.

        Args:
            engine: Its name.
            jobs: Trial id and job id of each.
        """
        self._write(
            [
                ("submitted", {"trial_id": trial_id, "engine": engine, "job_id": job_id})
                for trial_id, job_id in jobs
            ]
        )

    def interrupt(self, trial_id: str, cause: str, error: str | None) -> None:
        """Note that a trial's job is over without a result."""
        self._write([("interrupted", {"trial_id": trial_id, "cause": cause, "error": error})])

    def finish(
        self,
        trial_id: str,
        status: str,
        *,
        objective: float | None = None,
        metrics: dict[str, Any] | None = None,
        error: str | None = None,
        gpu_hours: float = 0.0,
    ) -> None:
        """Note a trial's end."""
        record = {
            "trial_id": trial_id,
            "status": status,
            "objective": objective,
            "metrics": metrics or {},
            "error": error,
            "gpu_hours": gpu_hours,
        }
        self._write([("finished", record)])

    def _write(self, events: list[tuple[str, dict[str, Any]]]) -> None:
        time = now()
        lines = [files.plain({"event": event, **record, "time": time}) for event, record in events]
        files.append_jsonl(self._path, *lines, sync=True)
        for line in lines:
            self._apply(line)

    def _apply(self, record: dict[str, Any]) -> None:
        event, trial_id = record.get("event"), record.get("trial_id")
        self._count_time(record)
        if event == "driver":
            self.driver = record
            return
        if event == "proposed" and trial_id not in self.trials:
            self._add(Trial(**{name: record[name] for name in _PROPOSED}))
            return
        found = self.trials.get(str(trial_id))
        if found is None:
            return
        self.states[found.state] -= 1
        if event == "submitted":
            found.job_id, found.engine = record["job_id"], record.get("engine", "inline")
            found.status, found.state = None, "submitted"
        elif event == "interrupted":
            cause = record["cause"]
            found.interruptions[cause] = found.interruptions.get(cause, 0) + 1
            found.error, found.state = record["error"], cause
        elif event == "finished":
            found.status = found.state = record["status"]
            found.objective, found.metrics = record["objective"], record["metrics"]
            found.error, found.gpu_hours = record["error"], record.get("gpu_hours", 0.0)
            self.gpu_hours += found.gpu_hours
        self.states[found.state] += 1

    def _add(self, trial: Trial) -> None:
        self.trials[trial.trial_id] = trial
        self.states[trial.state] += 1
        key = (trial.source == "bandit", trial.index)
        self._groups.setdefault(trial.cell, {}).setdefault(key, []).append(trial)

    def _count_time(self, record: dict[str, Any]) -> None:
        try:
            time = datetime.datetime.fromisoformat(record["time"])
        except (KeyError, TypeError, ValueError):
            return
        if self._last_time is not None and record.get("event") != "driver":
            self.wall_hours += max(0.0, (time - self._last_time).total_seconds()) / 3600
        self._last_time = time


def read_trials(study_dir: Path) -> list[Trial]:
    """Read a study's trials, also while its driver is running.

    Args:
        study_dir: The study directory.
    """
    return list(TrialStore(study_dir).trials.values())


def best_trial(objective: Objective, trials: list[Trial]) -> Trial | None:
    """Return the trial with the best objective, the first of equals; None if none has one."""
    known = [(objective.sign * t.objective, t) for t in trials if t.objective is not None]
    return min(known, key=lambda pair: pair[0])[1] if known else None
