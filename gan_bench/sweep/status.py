"""How a study stands, from its files alone: also while it runs, and where nothing can be written.

What a job is doing stands in its own directory: job.json says that it runs, train.jsonl how far it
is, evaluations.jsonl what it has measured.
"""

from __future__ import annotations

import collections
import dataclasses
import time
from pathlib import Path
from typing import Any

from gan_bench import config as configs
from gan_bench import files
from gan_bench.errors import GanBenchError
from gan_bench.metric_keys import find
from gan_bench.sweep.job import read_job
from gan_bench.sweep.objective import Objective
from gan_bench.sweep.store import STATUSES, Trial, TrialStore
from gan_bench.sweep.study import Study, read_study

_TAIL = 8192
"""Bytes at the end of train.jsonl, which hold its last line."""


@dataclasses.dataclass(frozen=True)
class RunningTrial:
    """A trial that a job is at work on."""

    trial: Trial
    step: int
    total: int
    value: float | None
    """The objective, of what it has evaluated so far."""
    host: str
    silent_seconds: float
    """Since its files last changed; long silence: the job may be gone."""


@dataclasses.dataclass(frozen=True)
class CellStatus:
    """The trials of one cell."""

    name: str
    total: int
    """Trials that are planned."""
    states: collections.Counter[str]
    best: float | None


@dataclasses.dataclass(frozen=True)
class StudyStatus:
    """A study at one moment."""

    study: Study
    study_dir: Path
    states: collections.Counter[str]
    cells: list[CellStatus]
    running: list[RunningTrial]
    failed: list[Trial]
    done: int
    gpu_hours: float
    wall_hours: float
    driver: dict[str, Any]
    """The last driver's event in the journal."""
    alive: bool
    """Whether a driver is at work."""

    @property
    def trials_per_hour(self) -> float | None:
        """Finished trials in an hour of a driver's work; None before the first."""
        return self.done / self.wall_hours if self.done and self.wall_hours > 0 else None

    @property
    def hours_left(self) -> float | None:
        """Estimated from the pace so far."""
        pace = self.trials_per_hour
        return None if pace is None else max(0, self.study.total - self.done) / pace


def study_status(study_dir: Path) -> StudyStatus:
    """Read how a study stands.

    Args:
        study_dir: The study directory; it may be on a read-only file system.

    Raises:
        StudyError: It holds no study, or one that can't be read.
    """
    study = read_study(study_dir)
    store = TrialStore(study_dir)
    states = {trial.trial_id: _state(trial, store) for trial in store.trials.values()}
    cells = []
    for cell in study.cells:
        trials = [trial for group in store.settings_of(cell.name) for trial in group]
        counts = collections.Counter(states[trial.trial_id] for trial in trials)
        cells.append(
            CellStatus(
                cell.name, sum(study.trials_of(cell)), counts, _best(trials, study.objective)
            )
        )
    running = [
        _running(trial, store, study.objective)
        for trial in store.trials.values()
        if states[trial.trial_id] == "running"
    ]
    return StudyStatus(
        study=study,
        study_dir=study_dir,
        states=collections.Counter(states.values()),
        cells=cells,
        running=running,
        failed=[trial for trial in store.trials.values() if trial.status == "failed"],
        done=store.done,
        gpu_hours=store.gpu_hours,
        wall_hours=store.wall_hours,
        driver=store.driver,
        alive=files.is_locked(study_dir / ".lock"),
    )


def _state(trial: Trial, store: TrialStore) -> str:
    """Return a trial's state: the journal's, or what its job has written since."""
    if trial.state != "submitted":
        return trial.state
    folder = store.folder(trial.trial_id)
    if (folder / "result.json").exists():
        try:
            status = files.read_json(folder / "result.json", what="result file")["status"]
            return status if status in STATUSES else "failed"
        except (GanBenchError, KeyError, TypeError):
            return "failed"
    job = read_job(folder)
    if trial.engine != "inline" and job.get("job_id") not in (None, trial.job_id):
        return "submitted"  # what an earlier job left
    return {"running": "running", "preempted": "preempted"}.get(str(job.get("state")), "submitted")


def _running(trial: Trial, store: TrialStore, objective: Objective) -> RunningTrial:
    folder = store.folder(trial.trial_id)
    job = read_job(folder)
    evaluations = files.read_jsonl(folder / "evaluations.jsonl")
    values = [
        line[key]
        for line in evaluations
        if (key := find(line, objective.metric)) and isinstance(line[key], (int, float))
    ]
    value = None
    if values:
        value = values[-1]
        if objective.at == "best":
            value = min(values) if objective.mode == "min" else max(values)
    try:
        total = configs.load(folder / "config.yaml").training.g_steps
    except GanBenchError:
        total = 0
    return RunningTrial(
        trial=trial,
        step=_last_step(folder / "train.jsonl"),
        total=total,
        value=value,
        host=str(job.get("host", "")),
        silent_seconds=max(0.0, time.time() - _last_change(folder)),
    )


def _last_step(log: Path) -> int:
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - _TAIL))
            lines = files.parse_jsonl(stream.read().decode(errors="replace"))
    except OSError:
        return 0
    return int(lines[-1].get("step", 0)) if lines else 0


def _last_change(folder: Path) -> float:
    names = ("job.json", "train.jsonl", "evaluations.jsonl", "config.yaml")
    times = [path.stat().st_mtime for name in names if (path := folder / name).exists()]
    return max(times, default=0.0)


def _best(trials: list[Trial], objective: Objective) -> float | None:
    values = [trial.objective for trial in trials if trial.objective is not None]
    if not values:
        return None
    return min(values) if objective.mode == "min" else max(values)
