"""Stops a study from outside: its driver if one is at work, and the jobs that outlived one."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

from gan_bench import files
from gan_bench.errors import StudyError
from gan_bench.sweep import processes
from gan_bench.sweep.driver import CANCEL, LOCK
from gan_bench.sweep.engines import build_engine
from gan_bench.sweep.store import TrialStore
from gan_bench.sweep.study import read_study

_POLL_SECONDS = 0.2


def cancel_study(study_dir: Path, *, seconds: float = 600.0) -> int:
    """Stop all that runs of a study, its state saved: the same sweep goes on with it later.

    Args:
        study_dir: The study directory.
        seconds: How long to wait for the jobs to be gone.

    Returns:
        How many trials are still to be done of those that were begun.

    Raises:
        StudyError: It holds no study; or its driver runs trials in its own process on another
            host, or has not ended in time.
        StorageError: The request can't be written.
    """
    read_study(study_dir)
    files.write_json(study_dir / CANCEL, {"host": socket.gethostname(), "pid": os.getpid()})
    deadline = time.monotonic() + seconds
    if files.is_locked(study_dir / LOCK):
        _interrupt_inline(study_dir)
    while files.is_locked(study_dir / LOCK):
        if time.monotonic() > deadline:
            raise StudyError(
                f"the driver of {study_dir} has not ended yet; it will when its jobs have saved "
                "their state"
            )
        time.sleep(_POLL_SECONDS)
    with files.locked(study_dir / LOCK, f"study {study_dir}"):
        _cancel_orphans(study_dir, deadline)
        (study_dir / CANCEL).unlink(missing_ok=True)
        return sum(not trial.finished for trial in TrialStore(study_dir).trials.values())


def _interrupt_inline(study_dir: Path) -> None:
    """A driver that trains in its own process looks for no file until the trial is over."""
    driver = TrialStore(study_dir).driver
    holder = files.lock_holder(study_dir / LOCK)
    if driver.get("engine") != "inline" or holder is None:
        return
    host, pid = holder
    if host != socket.gethostname():
        raise StudyError(f"the driver of {study_dir} is process {pid} on {host}; stop it there")
    processes.terminate(pid)


def _cancel_orphans(study_dir: Path, deadline: float) -> None:
    """Stop the jobs that outlived their driver."""
    store = TrialStore(study_dir)
    begun = [trial for trial in store.trials.values() if not trial.finished and trial.engine]
    if not begun or store.driver.get("engine") in (None, "inline"):
        return
    engine = build_engine(store.driver["engine"], study_dir, store.driver.get("options"))
    try:
        folders = [store.folder(trial.trial_id) for trial in begun]
        alive = {
            folder
            for trial, folder in zip(begun, folders, strict=True)
            if engine.attach(folder, trial.job_id) is not None
        }
        engine.cancel(sorted(alive))
        while alive and time.monotonic() < deadline:
            for ended in engine.wait(1.0):
                alive.discard(ended.trial_dir)
                if not (ended.trial_dir / "result.json").exists():
                    cause = ended.cause or "lost"
                    store.interrupt(ended.trial_dir.name, cause, "it was cancelled")
    finally:
        engine.close()
