"""Studies whose driver and workers are killed at random moments: nothing is lost or repeated."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "sweep"))

from analytic_trial import CONTENT, value_of  # noqa: E402
from local_trials import watched_trial  # noqa: E402

from gan_bench import files  # noqa: E402
from gan_bench.sweep import (  # noqa: E402
    Study,
    build_engine,
    build_study,
    processes,
    read_trials,
    run_study,
)
from gan_bench.sweep.job import read_job  # noqa: E402

pytestmark = pytest.mark.slow

KILLS, STUDIES, SLOTS = 100, 20, 4
REAL = ["dataset=digits", "architecture=mlp", "evaluator=classifier", "evaluator.n_fake=200"]
REAL += ["training.steps=300", "training.checkpoint_every=50", "training.evaluate_every=100"]


def kill_study(number: int) -> Study:
    search = {"trials": 4, "random_starts": 2, "seeds": [0]}
    settings = {**CONTENT["settings"], "bandit": search}
    retries = {"lost": 1000}
    return build_study(
        {**CONTENT, "name": f"kill{number}", "settings": settings, "retries": retries}
    )


def drive(number: int, folder: Path) -> None:
    options = {"slots": SLOTS, "threads": 1}
    engine = build_engine("local", folder, options)
    run_study(
        kill_study(number), folder, engine=engine, engine_options=options, trial=watched_trial
    )


def wait_for_progress(rng: random.Random, driver: Any, folder: Path) -> None:
    """Wait for some more lines of the journal, and a moment longer."""
    journal = folder / "trials.jsonl"
    lines = len(files.read_jsonl(journal)) + rng.randrange(6)
    while driver.exitcode is None and len(files.read_jsonl(journal)) < lines:
        time.sleep(0.005)
    driver.join(rng.uniform(0.0, 0.2))


def kill_one(rng: random.Random, driver: Any, folder: Path) -> str:
    """Kill the driver or one of the workers; return which."""
    jobs = [read_job(path) for path in (folder / "trials").glob("*")]
    alive = [job["pid"] for job in jobs if job.get("state") == "running"]
    victim = rng.choice(alive) if alive and rng.random() < 0.8 else driver.pid
    try:
        os.kill(victim, signal.SIGKILL)
    except ProcessLookupError:  # it ended in this moment
        return "nobody"
    return "driver" if victim == driver.pid else "worker"


def test_a_hundred_kills_lose_and_repeat_nothing(tmp_path: Path) -> None:
    rng = random.Random(0)
    killed = {"driver": 0, "worker": 0, "nobody": 0}
    for number in range(STUDIES):
        folder = tmp_path / str(number)
        while not survived(rng, number, folder, killed):
            pass
        check(kill_study(number), folder)
        if killed["driver"] + killed["worker"] >= KILLS:
            break
    assert killed["driver"] >= KILLS // 4 and killed["worker"] >= KILLS // 4, killed
    assert killed["driver"] + killed["worker"] >= KILLS, killed


def survived(rng: random.Random, number: int, folder: Path, killed: dict[str, int]) -> bool:
    """Start a driver and kill it or its workers; return whether it came to the study's end."""
    driver = processes.context().Process(target=drive, args=(number, folder))
    driver.start()
    while driver.exitcode is None:
        wait_for_progress(rng, driver, folder)
        if driver.exitcode is None:
            who = kill_one(rng, driver, folder)
            killed[who] += 1
            if who == "driver":
                driver.join(60)
    assert driver.exitcode in (0, -signal.SIGKILL), (folder / "trials.jsonl").read_text()
    return driver.exitcode == 0


def check(study: Study, folder: Path) -> None:
    """Every trial of the plan has one right result, and none was begun beside it."""
    trials = read_trials(folder)
    assert len(trials) == study.total == 12
    assert {trial.status for trial in trials} == {"completed"}
    keys = [(trial.cell, trial.source, trial.index, trial.seed) for trial in trials]
    assert len(set(keys)) == 12
    assert {path.name for path in (folder / "trials").iterdir()} == {t.trial_id for t in trials}
    for trial in trials:
        run_dir = folder / "trials" / trial.trial_id
        assert trial.objective == value_of(run_dir)
        assert not (run_dir / "repeated").exists()
        assert not (run_dir / "twice_at_once").exists()
    finished = [line for line in files.read_jsonl(folder / "trials.jsonl") if is_finish(line)]
    assert len(finished) == 12


def is_finish(line: dict[str, Any]) -> bool:
    return line["event"] == "finished"


def real_study() -> Study:
    settings = {"fixed": [{"optimizer.lr": [1e-4, 2e-4]}]}
    cells = {"loss": ["non_saturating", "hinge"]}
    content = {"name": "real", "base": [*REAL, "device=cpu"], "cells": cells, "settings": settings}
    return build_study({**content, "retries": {"lost": 1000}})


def train_all(folder: Path) -> None:
    options = {"slots": 2, "threads": 1}
    engine = build_engine("local", folder, options)
    run_study(real_study(), folder, engine=engine, engine_options=options)


def figures(folder: Path) -> dict[str, Any]:
    """What the trials of a study measured, without times."""
    found = {}
    for trial in read_trials(folder):
        result = json.loads((folder / "trials" / trial.trial_id / "result.json").read_text())
        metrics = {k: v for k, v in result["metrics"].items() if k != "seconds_evaluate"}
        best = {k: v for k, v in result["best"].items() if k != "seconds_evaluate"}
        found[trial.trial_id] = [result["status"], metrics, best, result["counts"]]
    return found


def test_killed_trainings_end_as_undisturbed_ones(tmp_path: Path) -> None:
    context = processes.context()
    rng = random.Random(1)
    for folder in (tmp_path / "calm", tmp_path / "killed"):
        for attempt in range(100):
            driver = context.Process(target=train_all, args=(folder,))
            driver.start()
            if folder.name == "killed" and attempt < 12:
                driver.join(rng.uniform(0.5, 4.0))
                if driver.exitcode is None:
                    kill_one(rng, driver, folder)
            driver.join(300)
            if driver.exitcode == 0:
                break
    assert figures(tmp_path / "calm") == figures(tmp_path / "killed")
    assert len(figures(tmp_path / "calm")) == 4
