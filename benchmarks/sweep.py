"""How busy a study keeps its slots, and what its driver costs: `python -m benchmarks.sweep`.

Slots. Trials take log-normal times (mean 60 s). The driver is the real one, with all it writes,
composes and asks; only its idle time is skipped: the clock runs with the driver's own work and
jumps over its waiting. So the figures hold what a slot loses to the driver, at its true size. They
are set against an ideal scheduler, which hands the same times out in the same order at no cost,
and against rounds that wait for their last trial (mode=batch), as launchers that run a batch at a
time do.

Driver. What a trial costs the driver with 1,000 and 10,000 trials in the journal, and how long it
takes to start.
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gan_bench import files
from gan_bench.sweep import Ended, Study, Trial, TrialStore, build_study, run_study
from gan_bench.sweep.study import save_study

MEAN_SECONDS = 60.0
TRIALS_A_SLOT = 20
_TURN = 0.01
"""Real seconds of each skipped wait, in which the process that suggests can work."""


class SimulatedEngine:
    """Slots whose trials end when their time is over, on a clock that skips waiting."""

    name = "inline"
    concurrent = True
    together = 1
    gpus_per_trial = 1.0

    def __init__(self, slots: int, seconds: Sequence[float], skip: bool = True) -> None:
        """Give the n-th submitted trial the n-th time."""
        self.slots = slots
        self._seconds = list(seconds)
        self._skip = skip
        self._running: list[tuple[float, int, Path]] = []
        self._submitted = 0
        self._mark = time.monotonic()
        self.clock = 0.0
        self.end = 0.0

    def _tick(self) -> None:
        now = time.monotonic()
        self.clock += now - self._mark
        self._mark = now

    def submit(self, trial: Any, trial_dirs: Sequence[Path]) -> list[str]:
        """Start trials."""
        self._tick()
        for folder in trial_dirs:
            end = self.clock + self._seconds[self._submitted]
            heapq.heappush(self._running, (end, self._submitted, folder))
            self._submitted += 1
        return ["job"] * len(trial_dirs)

    def attach(self, trial_dir: Path, job_id: str | None) -> str | None:
        """There are no earlier jobs."""
        return None

    def wait(self, seconds: float) -> list[Ended]:
        """Let time pass until a trial is over, or so long."""
        self._tick()
        until = min(self._running[0][0], self.clock + seconds)
        left = max(0.0, until - self.clock)
        time.sleep(min(left, _TURN) if self._skip else left)
        self._tick()
        self.clock = max(self.clock, until)
        ended = []
        while self._running and self._running[0][0] <= self.clock:
            self.end, number, folder = heapq.heappop(self._running)
            result = {"status": "completed", "metrics": {}, "best": {"fid": 10.0 + number % 7}}
            files.write_json(folder / "result.json", result)
            ended.append(Ended(folder))
        return ended

    def cancel(self, trial_dirs: Sequence[Path]) -> None:
        """Nothing is cancelled here."""

    def close(self) -> None:
        """Nothing is held."""


def a_study(trials: int, *, cells: int = 1, **bandit: Any) -> Study:
    """A study without fixed settings."""
    labels = {f"c{number}": [f"optimizer.beta2={0.9 + number / 1000}"] for number in range(cells)}
    space = {
        "optimizer.lr": "tag(log, interval(1e-5, 1e-2))",
        "optimizer.beta1": "interval(0, 0.9)",
    }
    return build_study(
        {
            "name": "benchmark",
            "base": ["dataset=digits", "architecture=mlp"],
            "cells": {"cell": labels},
            "settings": {"space": space, "bandit": {"trials": trials, **bandit}},
        }
    )


def never(run_dir: Path) -> dict[str, Any]:
    """Stand for a trial: simulated ones are not called."""
    raise AssertionError


def times_of(count: int, variation: float, seed: int, mean: float = MEAN_SECONDS) -> list[float]:
    """Draw log-normal times with a mean and a coefficient of variation."""
    sigma = np.sqrt(np.log1p(variation**2))
    rng = np.random.default_rng(seed)
    return list(rng.lognormal(np.log(mean) - sigma**2 / 2, sigma, count))


def ideal_makespan(times: Sequence[float], slots: int) -> float:
    """Hand times out in order, each to the first free slot."""
    free = [0.0] * slots
    for seconds in times:
        heapq.heappush(free, heapq.heappop(free) + seconds)
    return max(free)


def utilisation(times: Sequence[float], slots: int, **bandit: Any) -> float:
    """Run a study; return the share of its slots' time that trials took."""
    engine = SimulatedEngine(slots, times)
    with tempfile.TemporaryDirectory() as folder:
        study = a_study(len(times), **bandit)
        run_study(study, Path(folder), engine=engine, trial=never)
    return sum(times) / (slots * engine.end)


def slots_table(seed: int) -> None:
    """Print how busy slots are."""
    print(f"slots busy; {TRIALS_A_SLOT} trials a slot, mean {MEAN_SECONDS:g} s, random search")
    print(f"{'CV':>4}{'slots':>7}{'ideal':>8}{'steady':>8}{'batch':>8}{'steady/ideal':>14}")
    for variation in (0.3, 0.5, 1.0):
        for slots in (4, 12, 32):
            times = times_of(slots * TRIALS_A_SLOT, variation, seed)
            ideal = sum(times) / (slots * ideal_makespan(times, slots))
            steady = utilisation(times, slots, suggester="random")
            batch = utilisation(times, slots, suggester="random", mode="batch", batch=slots)
            print(
                f"{variation:>4}{slots:>7}{ideal:>8.3f}{steady:>8.3f}{batch:>8.3f}"
                f"{steady / ideal:>14.3f}",
                flush=True,
            )


def gp_row(seed: int, slots: int = 12, trials: int = 72, mean: float = 40.0) -> None:
    """Print the same for the Gaussian process, in real time: its fits take what they take."""
    times = times_of(trials, 0.5, seed, mean)
    engine = SimulatedEngine(slots, times, skip=False)
    with tempfile.TemporaryDirectory() as folder:
        run_study(a_study(trials), Path(folder), engine=engine, trial=never)
    steady = sum(times) / (slots * engine.end)
    ideal = sum(times) / (slots * ideal_makespan(times, slots))
    print(
        f"gaussian_process in real time, {slots} slots, {trials} trials of {mean:g} s in one cell, "
        f"CV 0.5: ideal {ideal:.3f}, steady {steady:.3f}, steady/ideal {steady / ideal:.3f}"
    )


def filled(folder: Path, trials: int) -> Study:
    """Make a study with so many finished trials in 24 cells."""
    study = a_study(trials // 24 + 20, cells=24, suggester="random")
    save_study(study, folder)
    store = TrialStore(folder)
    rng = np.random.default_rng(0)
    done: list[Trial] = []
    for number in range(trials):
        cell = study.cells[number % 24]
        done.append(study.trial(cell, cell.space.sample(rng), "bandit", number // 24, 0))
    store.propose(done)
    store.submit("inline", [(trial.trial_id, "job") for trial in done])
    lines = [
        {
            "event": "finished",
            "trial_id": trial.trial_id,
            "status": "completed",
            "objective": 10.0 + number % 97,
            "metrics": {"fid": 10.0 + number % 97},
            "error": None,
            "gpu_hours": 1.0,
            "time": "2026-01-01T00:00:00+00:00",
        }
        for number, trial in enumerate(done)
    ]
    files.append_jsonl(folder / "trials.jsonl", *lines)
    return study


def driver_table(more: int = 100) -> None:
    """Print what the driver costs with a long journal."""
    print(f"{'in journal':>11}{'replay s':>10}{'start s':>9}{'ms/trial':>10}")
    for count in (1_000, 10_000):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            study = filled(folder, count)
            start = time.perf_counter()
            TrialStore(folder)
            replay = time.perf_counter() - start
            engine = Counted(more)
            start = time.perf_counter()
            with contextlib.suppress(KeyboardInterrupt):
                run_study(study, folder, engine=engine, trial=never)
            each = (engine.last - engine.first) / (more - 1) * 1000
            print(
                f"{count:>11}{replay:>10.2f}{engine.first - start:>9.2f}{each:>10.1f}", flush=True
            )


class Counted(SimulatedEngine):
    """One slot; trials take no time, and after so many the driver is interrupted."""

    concurrent = False
    together = 1

    def __init__(self, count: int) -> None:
        """Stop after `count` trials."""
        super().__init__(1, [0.0] * (count + 1))
        self._left = count
        self.first = self.last = 0.0

    def submit(self, trial: Any, trial_dirs: Sequence[Path]) -> list[str]:
        """Note the time."""
        self.last = time.perf_counter()
        self.first = self.first or self.last
        if self._left == 0:
            raise KeyboardInterrupt
        self._left -= 1
        return super().submit(trial, trial_dirs)


def main() -> None:
    """Run the parts that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", help="slots, gp, driver; none: all")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    parts = chosen.parts or ["driver", "slots", "gp"]
    if "driver" in parts:
        driver_table()
    if "slots" in parts:
        slots_table(chosen.seed)
    if "gp" in parts:
        gp_row(chosen.seed)


if __name__ == "__main__":
    main()
