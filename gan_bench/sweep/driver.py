"""The driver of a study: keeps every slot of an engine busy until all trials are done.

It is steady-state: as soon as a slot is free it takes what comes next (`plan`). All its state is
the journal and the trials' own directories, so it may die at any moment: the next one takes in
results that appeared meanwhile, watches the jobs that still live, and goes on; nothing is lost or
repeated.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gan_bench import config as configs
from gan_bench import files
from gan_bench.errors import ConfigError, GanBenchError, StudyError, unknown
from gan_bench.run import request_stop
from gan_bench.signals import sigterm_as_interrupt
from gan_bench.sweep.asking import Asker, DirectAsker, ProcessAsker
from gan_bench.sweep.engines import Ended, Engine, TrialFunction, build_engine
from gan_bench.sweep.halving import Halving
from gan_bench.sweep.plan import Planner
from gan_bench.sweep.store import STATUSES, Trial, TrialStore, best_trial
from gan_bench.sweep.study import Study, save_study

LOCK = ".lock"
CANCEL = "cancel.json"
"""In a study directory: its driver stops the trials that are running and ends."""

_PATIENCE_SECONDS = 1.0
"""How long the driver waits for jobs before it looks at everything else."""
_EAGER_SECONDS = 0.05
"""The same while a slot is free and a suggestion on its way."""


@dataclasses.dataclass(frozen=True)
class StudyEvent:
    """What a driver tells its listener."""

    kind: str
    """started (once), submitted, interrupted and finished (a trial each), limited (why nothing
    more is started), ended (once, not if interrupted)."""
    done: int
    total: int
    trial: Trial | None = None
    best: Trial | None = None
    """The trial with the best objective so far."""
    seconds_left: float | None = None
    """Estimated from the trials that this driver has finished; None before the first."""
    reason: str | None = None
    """Why nothing more is started."""


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a study came to."""

    study_dir: Path
    total: int
    statuses: dict[str, int]
    """Number of trials of each status."""
    best: dict[str, Trial]
    """Cell -> its trial with the best objective; cells without any are missing."""
    trials: list[Trial]
    limited: str | None = None
    """Why trials of the plan were not started: the budget, or it was cancelled."""


def run_study(
    study: Study,
    study_dir: Path,
    *,
    engine: Engine,
    trial: TrialFunction | None = None,
    on_event: Callable[[StudyEvent], None] | None = None,
    retry_failed: bool = False,
    engine_options: Mapping[str, Any] | None = None,
) -> Summary:
    """Run a study, or go on with it.

    Args:
        study: From `load_study` or `build_study`.
        study_dir: Where it is kept.
        engine: Where its trials run; it is closed at the end.
        trial: Runs one run directory; gan_bench.run.run_trial if not given. Importable by name,
            for engines with processes of their own.
        on_event: Told about progress.
        retry_failed: Run the trials again that failed (diverged ones stay: they are a result).
        engine_options: What the engine was built with, for the journal.

    Returns:
        The summary, once every trial has finished or the study's limits are reached.

    Raises:
        BusyError: Another driver is at work in the directory.
        StudyError: The directory holds another study, or trials still run on another engine.
        EngineError: The engine refuses jobs.
        ConfigError: The objective's metric is not among those that the trials measure.
        StorageError: The disk is full or read-only; the same call goes on later.
        KeyboardInterrupt: SIGINT or SIGTERM; likewise.
    """
    if trial is None:
        from gan_bench.run import run_trial

        trial = run_trial
    with contextlib.ExitStack() as stack:
        stack.callback(engine.close)  # where another driver is at work
        stack.enter_context(files.locked(study_dir / LOCK, f"study {study_dir}"))
        stack.callback(engine.close)  # before the lock is let go
        stack.enter_context(sigterm_as_interrupt())
        save_study(study, study_dir)
        (study_dir / CANCEL).unlink(missing_ok=True)
        store = TrialStore(study_dir)
        asker: Asker = ProcessAsker() if engine.concurrent else DirectAsker()
        stack.callback(asker.close)
        driver = _Driver(study, study_dir, store, engine, asker, trial, on_event or _ignore)
        store.begin(engine.name, dict(engine_options or {}), socket.gethostname(), os.getpid())
        driver.run(retry_failed)
        return driver.summary()


class _Driver:
    """One pass over a study: the plan, what is running, and the journal."""

    def __init__(
        self,
        study: Study,
        study_dir: Path,
        store: TrialStore,
        engine: Engine,
        asker: Asker,
        function: TrialFunction,
        on_event: Callable[[StudyEvent], None],
    ) -> None:
        self.study, self.store, self.engine = study, store, engine
        self._study_dir, self._asker = study_dir, asker
        self._function, self._on_event = function, on_event
        self._running: set[str] = set()
        self._waiting: list[Trial] = []
        """To be started when there are enough for a worker."""
        self._other: Engine | None = None
        """Another engine, that took trials of an earlier driver."""
        self._others_options = store.driver.get("options", {})
        self._limited: str | None = None
        self._cancelled = False
        self._metric_seen = any(trial.objective is not None for trial in store.trials.values())
        self._best = best_trial(study.objective, list(store.trials.values()))
        self._clock = time.monotonic()
        self._ended_here = 0
        self._halving = (
            Halving(study.early_stopping, study.objective, store) if study.early_stopping else None
        )

    def run(self, retry_failed: bool) -> None:
        """Fill free slots and take in what ends, until the plan is done."""
        self._tell("started")
        begun = self._begun(retry_failed)
        planner = Planner(self.study, self.store, self._asker)
        for trial in begun:
            planner.reopen(trial)
        while True:
            self._look_for_limits()
            if self._limited is None:
                self._fill(planner)
            if not self._running and (self._limited is not None or planner.exhausted):
                break
            free_slot = self._limited is None and len(self._running) < self.engine.slots
            waiting = free_slot and planner.asking
            seconds = _EAGER_SECONDS if waiting else _PATIENCE_SECONDS
            if self._running:
                for ended in self.engine.wait(seconds):
                    self._take(ended, planner)
            elif waiting:
                time.sleep(seconds)
            self._stop_poor_trials()
        self._limited = self._limited or planner.limited
        for cell, reason in planner.ended.items():
            self._tell("limited", reason=f"{cell}: {reason}")
        self._tell("ended")

    def _fill(self, planner: Planner) -> None:
        """Start what comes next in free slots, a worker's trials at once."""
        free = max(0, self.engine.slots - len(self._running))
        self._waiting += planner.take(max(0, free - len(self._waiting)), self._ahead())
        enough = min(free, self.engine.together)
        if len(self._waiting) >= enough or not planner.asking:
            ready, self._waiting = self._waiting[:free], self._waiting[free:]
            self._start(ready)

    def summary(self) -> Summary:
        """Say what the study came to."""
        trials = list(self.store.trials.values())
        best = {
            cell.name: found
            for cell in self.study.cells
            if (
                found := best_trial(
                    self.study.objective, [t for t in trials if t.cell == cell.name]
                )
            )
        }
        statuses = {status: self.store.states[status] for status in STATUSES}
        total = self.study.total
        return Summary(self._study_dir, total, statuses, best, trials, self._limited)

    def _begun(self, retry_failed: bool) -> list[Trial]:
        """Return what earlier drivers left open; take in what has ended without them."""
        left = []
        for trial in list(self.store.trials.values()):
            folder = self.store.folder(trial.trial_id)
            if retry_failed and trial.status == "failed":
                (folder / "result.json").unlink(missing_ok=True)
                left.append(trial)
            elif not trial.finished and self._attached(trial, folder):
                continue
            elif not trial.finished and (folder / "result.json").exists():
                self._take(Ended(folder), None)
            elif not trial.finished:
                left.append(trial)
        return left

    def _attached(self, trial: Trial, folder: Path) -> bool:
        """Watch a trial's job if it lives; a driver may have died before it could journal it."""
        job_id = self.engine.attach(folder, trial.job_id)
        if job_id is None:
            if self._lives_elsewhere(trial, folder):
                raise StudyError(
                    f"trial {trial.trial_id} still runs on engine {trial.engine} (job "
                    f"{trial.job_id}); go on with that engine, or stop what runs there with "
                    f"gan-bench cancel study_dir={self._study_dir}"
                )
            return False
        if trial.state != "submitted":
            self.store.submit(self.engine.name, [(trial.trial_id, job_id)])
        self._running.add(trial.trial_id)
        return True

    def _lives_elsewhere(self, trial: Trial, folder: Path) -> bool:
        """Whether a job lives that this engine does not know: that of another engine."""
        if trial.engine in (None, self.engine.name, "inline"):
            return files.is_locked(folder / ".lock")
        if self._other is None or self._other.name != trial.engine:
            self._other = build_engine(str(trial.engine), self._study_dir, self._others_options)
        return self._other.attach(folder, trial.job_id) is not None

    def _look_for_limits(self) -> None:
        """Find out whether anything more may be started; a request to cancel stops all."""
        if not self._cancelled and (self._study_dir / CANCEL).exists():
            self._cancelled = True
            self._limited = "it was cancelled"
            self.engine.cancel([self.store.folder(trial_id) for trial_id in self._running])
        elif self._limited is None:
            self._limited = self.study.budget.used_up(self.store)
        else:
            return
        if self._limited is not None:
            self._tell("limited", reason=self._limited)

    def _ahead(self) -> int:
        """How many settings to have ready: as many as slots become free during one answer."""
        if not self.engine.concurrent:
            return 0
        pace = self._ended_here / max(time.monotonic() - self._clock, 1e-9)
        return min(self.engine.slots, 1 + math.ceil(pace * self._asker.seconds))

    def _start(self, trials: list[Trial]) -> None:
        """Write trials' configs and submit them; refused settings are a failed trial."""
        ready = []
        for trial in trials:
            folder = self.store.folder(trial.trial_id)
            try:
                config = self.study.config(trial, folder)
            except ConfigError as error:
                self._finish(trial, "failed", error=str(error))
                continue
            configs.save(config, folder / "config.yaml")  # again: the device may be another now
            ready.append(trial)
        if not ready:
            return
        folders = [self.store.folder(trial.trial_id) for trial in ready]
        jobs = self.engine.submit(self._function, folders)
        self.store.submit(
            self.engine.name, zip([trial.trial_id for trial in ready], jobs, strict=True)
        )
        for trial in ready:
            self._running.add(trial.trial_id)
            self._tell("submitted", trial)

    def _take(self, ended: Ended, planner: Planner | None) -> None:
        """Record a job that is over, from the trial's own result.json if there is one."""
        trial = self.store.trials[ended.trial_dir.name]
        self._running.discard(trial.trial_id)
        path = ended.trial_dir / "result.json"
        if not path.exists():
            self._interrupted(trial, ended, planner)
            return
        try:
            result = files.read_json(path, what="result file")
            status = result["status"]
        except (GanBenchError, KeyError, TypeError) as error:
            self._finish(trial, "failed", error=f"unreadable result: {error}")
            return
        objective = self.study.objective
        measured = result.get("best" if objective.at == "best" else "metrics") or {}
        if status == "completed" and objective.find(result) is None and not self._metric_seen:
            raise unknown("objective.metric", objective.metric, measured)
        self._metric_seen = self._metric_seen or status == "completed"
        seconds = sum(part or 0.0 for part in (result.get("seconds") or {}).values())
        self._finish(
            trial,
            status if status in STATUSES else "failed",
            objective=objective.value(result),
            metrics={
                key: value for key, value in measured.items() if isinstance(value, (int, float))
            },
            error=result.get("error"),
            gpu_hours=seconds / 3600 * self.engine.gpus_per_trial,
        )

    def _interrupted(self, trial: Trial, ended: Ended, planner: Planner | None) -> None:
        """Start a trial without a result again, unless its cause has come too often."""
        where = f" (log: {ended.log})" if ended.log is not None else ""
        if ended.cause is None:
            self._finish(trial, "failed", error=f"the job ended without a result{where}")
            return
        error = f"{ended.error or ended.cause}{where}"
        times = trial.interruptions.get(ended.cause, 0) + 1
        allowed = getattr(self.study.retries, ended.cause)
        if times > allowed:
            again = f"{ended.cause} {times} times; the last time: " if allowed else ""
            self._finish(trial, "failed", error=f"{again}{error}")
            return
        self.store.interrupt(trial.trial_id, ended.cause, error)
        self._tell("interrupted", trial)
        if planner is not None and not self._cancelled:
            planner.reopen(trial)

    def _stop_poor_trials(self) -> None:
        if self._halving is None:
            return
        for trial_id in self._running:
            reason = self._halving.poor(self.store.trials[trial_id])
            if reason is not None:
                request_stop(self.store.folder(trial_id), reason)

    def _finish(self, trial: Trial, status: str, **record: Any) -> None:
        self.store.finish(trial.trial_id, status, **record)
        if self._halving is not None:
            self._halving.poor(trial)  # others are measured against it
        self._best = best_trial(
            self.study.objective, [trial, *([self._best] if self._best else [])]
        )
        self._ended_here += 1
        self._tell("finished", trial)

    def _tell(self, kind: str, trial: Trial | None = None, reason: str | None = None) -> None:
        done, total = self.store.done, self.study.total
        seconds_left = None
        if self._ended_here:
            pace = (time.monotonic() - self._clock) / self._ended_here
            seconds_left = pace * max(0, total - done)
        self._on_event(StudyEvent(kind, done, total, trial, self._best, seconds_left, reason))


def _ignore(event: StudyEvent) -> None:
    """Listen to nothing."""
