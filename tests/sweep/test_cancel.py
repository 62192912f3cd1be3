"""Stopping a study from outside, with and without a driver."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from analytic_trial import analytic_trial, small_study

from gan_bench.errors import StudyError
from gan_bench.sweep import cancel_study, read_trials, run_study
from gan_bench.sweep.engines.inline import InlineEngine

DRIVER = """
import sys
from pathlib import Path
from analytic_trial import small_study
from local_trials import busy
from gan_bench.sweep import build_engine, run_study

folder, name = Path(sys.argv[1]), sys.argv[2]
options = {"slots": 2, "threads": 1} if name == "local" else {}
engine = build_engine(name, folder, options)
run_study(small_study(), folder, engine=engine, engine_options=options, trial=busy)
"""


def start(folder: Path, engine: str, jobs: int) -> subprocess.Popen[bytes]:
    """Start a driver, and wait until so many of its trials run."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", DRIVER, str(folder), engine]
    driver = subprocess.Popen(command, env=environment)
    deadline = time.monotonic() + 60
    while len(list(folder.glob("trials/*/running"))) < jobs:
        assert driver.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    return driver


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "jobs"), [("local", 2), ("inline", 1)])
def test_a_driver_at_work_stops_its_trials_with_their_state_saved(
    tmp_path: Path, engine: str, jobs: int
) -> None:
    driver = start(tmp_path, engine, jobs)
    assert cancel_study(tmp_path, seconds=60) >= jobs
    assert len(list(tmp_path.glob("trials/*/saved"))) == jobs
    assert driver.wait(60) == (0 if engine == "local" else -signal.SIGINT)
    again = run_study(small_study(), tmp_path, engine=InlineEngine(), trial=analytic_trial)
    assert again.statuses["completed"] == 8


@pytest.mark.slow
def test_jobs_that_outlived_their_driver_are_stopped(tmp_path: Path) -> None:
    driver = start(tmp_path, "local", 2)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    assert not list(tmp_path.glob("trials/*/saved"))
    assert cancel_study(tmp_path, seconds=60) == 2
    assert len(list(tmp_path.glob("trials/*/saved"))) == 2
    assert [trial.state for trial in read_trials(tmp_path)] == ["preempted"] * 2
    assert cancel_study(tmp_path) == 2  # nothing runs: nothing to do


def test_a_folder_that_holds_no_study(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"study.yaml is missing"):
        cancel_study(tmp_path)
