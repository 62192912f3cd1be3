"""Several trials in one process: those that differ in a few scalars only train as one program.

Each keeps its run directory, files, evaluations and status. A trial that ends, diverges or fails
leaves the others alone, and what can't be stacked trains by itself, one trial after the other.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch

from gan_bench import config as configs
from gan_bench import files
from gan_bench.config import Config
from gan_bench.errors import BusyError, GanBenchError, StorageError
from gan_bench.hardware import choose_device, cpu_threads
from gan_bench.result import read_result, write_failure
from gan_bench.run import ENDED, Run, run_trial
from gan_bench.signals import deferred_interrupts, sigterm_as_interrupt
from gan_bench.training.randomness import RandomState
from gan_bench.training.stack import Member, Stack
from gan_bench.training.trainer import DivergedError

_LOG = logging.getLogger(__name__)

_FREE = ("seed", "optimizer", "evaluator", "regularizer")
_FREE_TRAINING = ("steps", "d_steps", "ema_decay", "evaluate_every")


def stack_key(config: Config) -> str:
    """Return a string that is equal for trials that can train as one program.

    They may differ in the seed, Adam's settings, the options of the regularizer, their length, the
    moving average and the evaluator. Trials that add up gradients of parts, or report to a tracker
    (which may know one run a process), have a string of their own.
    """
    plain = configs.identity(config)
    for name in _FREE:
        del plain[name]
    for name in _FREE_TRAINING:
        del plain["training"][name]
    alone = config.training.accumulate > 1 or config.trackers
    own = config.run_dir if alone else None
    return files.digest([plain, config.regularizer["name"], config.device, config.threads, own])


def run_trials(run_dirs: Sequence[Path]) -> None:
    """Run or continue trials, together where they can be; see `run.run_trial` for one.

    Args:
        run_dirs: Directories with a config.yaml each.

    Raises:
        StorageError: The disk is full or read-only.
        BusyError: Another process runs one of the trials.
        KeyboardInterrupt: SIGINT or SIGTERM; all states are saved.
    """
    groups: dict[str, dict[Path, Config]] = {}
    for run_dir in run_dirs:
        try:
            finished = read_result(run_dir)
            if finished is None or finished["status"] not in ENDED:
                config = configs.load(run_dir / "config.yaml")
                groups.setdefault(stack_key(config), {})[run_dir] = config
        except GanBenchError as error:
            write_failure(run_dir, error)
    for group in groups.values():
        left = list(group) if len(group) == 1 else _run_stacked(group)
        for run_dir in left:
            run_trial(run_dir)


def _run_stacked(trials: Mapping[Path, Config]) -> list[Path]:
    """Train a group as one program; return those that have to train by themselves."""
    first = next(iter(trials.values()))
    with contextlib.ExitStack() as stack:
        for run_dir in trials:
            stack.enter_context(files.locked(run_dir / ".lock", f"run {run_dir}"))
        stack.enter_context(cpu_threads(first.threads))
        stack.enter_context(sigterm_as_interrupt())
        stack.enter_context(torch.random.fork_rng())
        group = _Group(choose_device(first.device))
        stack.callback(group.close)
        for run_dir, config in trials.items():
            group.add(run_dir, config)
        return group.run()


class _NotStackableError(Exception):
    """The networks or the loss do what torch.func.vmap can't."""


class _Trial:
    """A run in a group: its random state, and how far it may train before something is due."""

    def __init__(self, run: Run, random: RandomState) -> None:
        self.run, self.random = run, random
        self.until = run.trainer.step
        self._events: Iterator[int] = run.events()

    def turn(self) -> bool:
        """Do what is due; tell whether the run goes on."""
        try:
            self.until = next(self._events)
        except StopIteration:
            return False
        return True

    def log(self) -> bool:
        """Write a line of losses where one is due."""
        self.run.log_if_due()
        return True


class _Group:
    """Runs that train in lockstep, each as far as its next event."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._runs: list[Run] = []
        self._trials: list[_Trial] = []
        """Those that have not ended."""

    def add(self, run_dir: Path, config: Config) -> None:
        """Build a run in its own random state; one that can't be built has failed."""
        random = RandomState(self._device)
        like = self._runs[0] if self._runs else None
        with random.applied(), _guarded(run_dir):
            run = Run(config, run_dir, self._device, like=like)
            self._runs.append(run)
            self._trials.append(_Trial(run, random))

    def close(self) -> None:
        """Let go of what the runs hold."""
        for run in self._runs:
            run.close()

    def run(self) -> list[Path]:
        """Train all to their ends; return the directories of those that can't be stacked."""
        stacked: list[_Trial] = []
        try:
            while self._turn():
                if stacked != self._trials:
                    stacked = list(self._trials)
                    program = _stack(stacked)
                self._advance(program)
        except KeyboardInterrupt:
            self._save()
            raise
        except _NotStackableError as error:
            _LOG.warning("these trials train one by one, for they can't be stacked: %s", error)
        return [trial.run.run_dir for trial in self._trials]

    def _turn(self) -> bool:
        """Do what is due of each run that has got there; tell whether any goes on."""
        for trial in list(self._trials):
            if trial.run.trainer.step >= trial.until:
                self._attempt(trial, trial.turn)
        return bool(self._trials)

    def _advance(self, program: Stack) -> None:
        """Train up to the next event of any run."""
        steps = min(trial.until - trial.run.trainer.step for trial in self._trials)
        with deferred_interrupts() as stop:
            with _vectorized():
                program.advance(steps, stop)
            for trial in list(self._trials):
                self._attempt(trial, trial.log)
        if stop():
            raise KeyboardInterrupt

    def _attempt(self, trial: _Trial, action: Callable[[], bool]) -> None:
        """Act for one run in its random state; it leaves the group unless it goes on."""
        goes_on = False
        with trial.random.applied(), _guarded(trial.run.run_dir, trial.run):
            goes_on = action()
        if not goes_on:
            self._trials.remove(trial)

    def _save(self) -> None:
        """Save all states; a further signal does not keep the others from being saved."""
        for trial in self._trials:
            with (
                trial.random.applied(),
                contextlib.suppress(KeyboardInterrupt, DivergedError),
            ):
                trial.run.save_if_whole()


def _stack(trials: Sequence[_Trial]) -> Stack:
    with _vectorized():
        return Stack([Member(trial.run.trainer, trial.random) for trial in trials])


@contextlib.contextmanager
def _vectorized() -> Iterator[None]:
    """Say of a fault in the common program that the trials can't be stacked."""
    try:
        yield
    except Exception as error:
        raise _NotStackableError(
            str(error).splitlines()[0] if str(error) else repr(error)
        ) from error


@contextlib.contextmanager
def _guarded(run_dir: Path, run: Run | None = None) -> Iterator[None]:
    """Turn a fault of one trial into its result."""
    try:
        yield
    except (StorageError, BusyError):
        raise
    except DivergedError as error:
        if run is None:
            raise
        run.end("diverged", str(error))
    except Exception as error:
        write_failure(run_dir, error)
