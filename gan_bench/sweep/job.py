"""What every engine runs for a trial: the same importable function on the same directory.

A job leaves `job.json` in the trial's directory, so that people and later drivers know where it
runs: {"job_id", "host", "pid", "device", "state": "running|preempted|ended", "started", "updated"}.
"""

from __future__ import annotations

import datetime
import os
import socket
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gan_bench import files
from gan_bench.errors import GanBenchError
from gan_bench.run import run_trial
from gan_bench.sweep.engines.base import TrialFunction
from gan_bench.together import run_trials

FILE = "job.json"


def run_job(trial: TrialFunction, trial_dir: Path, job_id: str) -> None:
    """Run or continue a trial, and keep its job.json; see `run_jobs`."""
    run_jobs(trial, [trial_dir], job_id)


def run_jobs(trial: TrialFunction, trial_dirs: Sequence[Path], job_id: str) -> None:
    """Run or continue trials in this process, and keep their job.json.

    Args:
        trial: `gan_bench.run.run_trial`, of which several train together where they can, or a
            function like it.
        trial_dirs: The trials' directories.
        job_id: The engine's id of the job.

    Raises:
        KeyboardInterrupt: SIGINT, or what else the engine turned into it; the state is saved.
        StorageError: The disk is full or read-only.
    """
    started = now()

    def note(state: str) -> None:
        record = {
            "job_id": job_id,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "device": os.environ.get("CUDA_VISIBLE_DEVICES"),
        }
        for trial_dir in trial_dirs:
            files.write_json(
                trial_dir / FILE, {**record, "state": state, "started": started, "updated": now()}
            )

    note("running")
    try:
        if trial is run_trial and len(trial_dirs) > 1:
            run_trials(trial_dirs)
        else:
            for trial_dir in trial_dirs:
                trial(trial_dir)
    except KeyboardInterrupt:
        note("preempted")
        raise
    except BaseException:
        note("ended")
        raise
    note("ended")


def log_fault(error: BaseException) -> None:
    """Write why a job failed where its output goes; what is the user's to mend is one line."""
    if isinstance(error, GanBenchError):
        sys.stderr.write(f"{error}\n")
    else:
        traceback.print_exception(error)


def read_job(trial_dir: Path) -> dict[str, Any]:
    """Return a trial's job.json; empty if there is none that can be read."""
    try:
        found = files.read_json(trial_dir / FILE, what="job file")
    except GanBenchError:
        return {}
    return found if isinstance(found, dict) else {}


def now() -> str:
    """Return the time as the journals write it (UTC, seconds)."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def last_line(log: Path) -> str | None:
    """Return the last line with text of a log, at most 300 letters; None if there is none."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - 4096))
            lines = stream.read().decode(errors="replace").splitlines()
    except OSError:
        return None
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), None)
