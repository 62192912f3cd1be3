"""The driver of a study: keeps every slot of an engine busy until all trials are done.

It is steady-state: as soon as a slot is free it takes what comes next: trials that an earlier
driver had begun, then the fixed settings, round-robin over seeds and cells, then the search,
round-robin over cells. All its state is the journal and the trials' own directories, so it may
die at any moment: the next one goes on, and nothing is lost, repeated or chosen differently.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from gan_bench import config as configs
from gan_bench import files
from gan_bench.errors import ConfigError, GanBenchError, unknown
from gan_bench.sweep.engines import Ended, Engine, TrialFunction
from gan_bench.sweep.space import Settings
from gan_bench.sweep.store import Trial, TrialStore
from gan_bench.sweep.study import Cell, Study, save_study
from gan_bench.sweep.suggest import build_suggester

STATUSES = ("completed", "diverged", "failed")


@dataclasses.dataclass(frozen=True)
class StudyEvent:
    """What a driver tells its listener."""

    kind: str
    """started (once), submitted and finished (a trial each), ended (once, not if interrupted)."""
    done: int
    total: int
    trial: Trial | None = None
    best: Trial | None = None
    """The trial with the best objective so far."""
    seconds_left: float | None = None
    """Estimated from the trials that this driver has finished; None before the first."""


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a study came to."""

    study_dir: Path
    total: int
    statuses: dict[str, int]
    """Number of trials: completed, diverged, failed."""
    best: dict[str, Trial]
    """Cell -> its trial with the best objective; cells without any are missing."""
    trials: list[Trial]


def run_study(
    study: Study,
    study_dir: Path,
    *,
    engine: Engine,
    trial: TrialFunction | None = None,
    on_event: Callable[[StudyEvent], None] | None = None,
    retry_failed: bool = False,
) -> Summary:
    """Run a study, or go on with it.

    Args:
        study: From `load_study` or `build_study`.
        study_dir: Where it is kept.
        engine: Where its trials run; it is closed at the end.
        trial: Runs one run directory; gan_bench.run.run_trial if not given.
        on_event: Told about progress.
        retry_failed: Run the trials again that failed (diverged ones stay: they are a result).

    Returns:
        The summary, once every trial has finished.

    Raises:
        BusyError: Another driver is at work in the directory.
        StudyError: The directory holds another study.
        ConfigError: The objective's metric is not among those that the trials measure.
        StorageError: The disk is full or read-only; the same call goes on later.
        KeyboardInterrupt: SIGINT or SIGTERM; likewise.
    """
    if trial is None:
        from gan_bench.run import run_trial

        trial = run_trial
    with contextlib.ExitStack() as stack:
        stack.callback(engine.close)
        stack.enter_context(files.locked(study_dir / ".lock", f"study {study_dir}"))
        stack.enter_context(_sigterm_as_interrupt())
        save_study(study, study_dir)
        driver = _Driver(study, TrialStore(study_dir), engine, trial, on_event or _ignore)
        driver.run(retry_failed)
        return _summary(study, study_dir, driver.store)


class _Driver:
    """One pass over a study: the plan, what is running, and the journal."""

    def __init__(
        self,
        study: Study,
        store: TrialStore,
        engine: Engine,
        function: TrialFunction,
        on_event: Callable[[StudyEvent], None],
    ) -> None:
        self.study, self.store, self.engine = study, store, engine
        self._function, self._on_event = function, on_event
        self._running: set[str] = set()
        self._metric_seen = any(trial.objective is not None for trial in store.trials.values())
        self._clock = time.monotonic()
        self._ended_here = 0

    def run(self, retry_failed: bool) -> None:
        """Fill free slots and take in what ends, until the plan is done."""
        self._tell("started")
        left = self._begun(retry_failed)
        plan = self._plan()
        exhausted = False
        while True:
            while not exhausted and len(self._running) < self.engine.slots:
                trial = left.pop(0) if left else next(plan, None)
                exhausted = trial is None
                if trial is not None:
                    self._start(trial)
            if not self._running:
                break
            for ended in self.engine.wait():
                self._take(ended)
        self._tell("ended")

    def _begun(self, retry_failed: bool) -> list[Trial]:
        """Return what earlier drivers left open; take in what has ended without them."""
        left = []
        for trial in self.store.trials.values():
            folder = self.store.folder(trial.trial_id)
            if retry_failed and trial.status == "failed":
                (folder / "result.json").unlink(missing_ok=True)
                left.append(trial)
            elif not trial.finished and (folder / "result.json").exists():
                self._take(Ended(folder))
            elif not trial.finished:
                if trial.job_id is not None and self.engine.attach(folder, trial.job_id):
                    self._running.add(trial.trial_id)
                else:
                    left.append(trial)
        return left

    def _plan(self) -> Iterator[Trial]:
        """Yield the trials not proposed yet, in order, each when it is to start."""
        study = self.study
        for index in range(max((len(cell.fixed) for cell in study.cells), default=0)):
            for seed in study.seeds:
                for cell in study.cells:
                    if index < len(cell.fixed):
                        trial = study.trial(cell, cell.fixed[index], "fixed", index, seed)
                        yield from self._propose(trial)
        for index in range(study.bandit.trials):
            for cell in study.cells:
                settings = self._bandit_settings(cell, index)
                for seed in study.bandit.seeds if settings is not None else ():
                    assert settings is not None
                    yield from self._propose(study.trial(cell, settings, "bandit", index, seed))

    def _propose(self, trial: Trial) -> Iterator[Trial]:
        if trial.trial_id not in self.store.trials:
            self.store.propose(trial)
            yield self.store.trials[trial.trial_id]

    def _bandit_settings(self, cell: Cell, index: int) -> Settings | None:
        """Return a cell's searched setting: the one proposed before, or the suggester's next."""
        if index >= self.study.bandit_settings(cell):
            return None
        known = self._settings_of(cell)
        for trials in known:
            if (trials[0].source, trials[0].index) == ("bandit", index):
                return trials[0].settings
        bandit = self.study.bandit
        options = {"kappa": bandit.kappa, "random_starts": bandit.random_starts}
        key = files.digest([self.study.name, cell.axes, bandit.seed])
        suggester = build_suggester(bandit.suggester, cell.space, key=key, **options)
        pending = []
        for trials in known:
            seeds = self.study.seeds if trials[0].source == "fixed" else bandit.seeds
            if len(trials) < len(seeds) or not all(trial.finished for trial in trials):
                pending.append(trials[0].settings)
            else:
                suggester.tell(trials[0].settings, self._median(trials))
        return suggester.ask(pending)

    def _settings_of(self, cell: Cell) -> list[list[Trial]]:
        """Return a cell's trials, those of one setting together, in the order of the plan.

        Not in the order in which they finished: that may differ from run to run.
        """
        groups: dict[tuple[bool, int], list[Trial]] = {}
        for trial in self.store.trials.values():
            if trial.cell == cell.name:
                groups.setdefault((trial.source == "bandit", trial.index), []).append(trial)
        return [groups[key] for key in sorted(groups)]

    def _median(self, trials: list[Trial]) -> float | None:
        """Return the median over seeds, lower is better; a failed seed counts as the worst."""
        sign = 1.0 if self.study.objective.mode == "min" else -1.0
        values = [
            math.inf if trial.objective is None else sign * trial.objective for trial in trials
        ]
        median = statistics.median(values)
        return median if math.isfinite(median) else None

    def _start(self, trial: Trial) -> None:
        """Write a trial's config and submit it; refused settings are a failed trial."""
        folder = self.store.folder(trial.trial_id)
        try:
            config = self.study.config(trial, folder)
        except ConfigError as error:
            self._finish(trial, "failed", error=str(error))
            return
        configs.save(config, folder / "config.yaml")  # again: the device may be another now
        job_id = self.engine.submit(self._function, folder)
        self.store.submit(trial.trial_id, job_id)
        self._running.add(trial.trial_id)
        self._tell("submitted", trial)

    def _take(self, ended: Ended) -> None:
        """Record a trial that is over, from its own result.json."""
        trial = self.store.trials[ended.trial_dir.name]
        self._running.discard(trial.trial_id)
        path = ended.trial_dir / "result.json"
        if not path.exists():
            reason = ended.error or "the job ended without a result"
            self._finish(trial, "failed", error=reason)
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
        self._finish(
            trial,
            status if status in STATUSES else "failed",
            objective=objective.value(result),
            metrics={
                key: value for key, value in measured.items() if isinstance(value, (int, float))
            },
            error=result.get("error"),
        )

    def _finish(self, trial: Trial, status: str, **record: Any) -> None:
        self.store.finish(trial.trial_id, status, **record)
        self._ended_here += 1
        self._tell("finished", trial)

    def _tell(self, kind: str, trial: Trial | None = None) -> None:
        done = sum(other.finished for other in self.store.trials.values())
        seconds_left = None
        if self._ended_here:
            pace = (time.monotonic() - self._clock) / self._ended_here
            seconds_left = pace * max(0, self.study.total - done)
        best = _best(self.study, list(self.store.trials.values()))
        self._on_event(StudyEvent(kind, done, self.study.total, trial, best, seconds_left))


def _best(study: Study, trials: list[Trial]) -> Trial | None:
    best: Trial | None = None
    for trial in trials:
        if trial.objective is not None and (
            best is None
            or best.objective is None
            or study.objective.better(trial.objective, best.objective)
        ):
            best = trial
    return best


def _summary(study: Study, study_dir: Path, store: TrialStore) -> Summary:
    trials = list(store.trials.values())
    best = {
        cell.name: found
        for cell in study.cells
        if (found := _best(study, [trial for trial in trials if trial.cell == cell.name]))
    }
    statuses = {status: sum(t.status == status for t in trials) for status in STATUSES}
    return Summary(study_dir, study.total, statuses, best, trials)


def _ignore(event: StudyEvent) -> None:
    """Listen to nothing."""


@contextlib.contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Turn SIGTERM into KeyboardInterrupt, unless the program has a handler of its own."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
