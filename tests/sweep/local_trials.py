"""Trials for engines with processes of their own: importable by name, and quick."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import torch
from analytic_trial import value_of, write_result

from gan_bench import files
from gan_bench.errors import BusyError, StorageError


def quick(run_dir: Path) -> dict[str, Any]:
    print("quick says hello", flush=True)
    gpu, threads = os.environ.get("CUDA_VISIBLE_DEVICES"), torch.get_num_threads()
    result = {"status": "completed", "pid": os.getpid(), "gpu": gpu, "threads": threads}
    files.write_json(run_dir / "result.json", result)
    return result


def busy(run_dir: Path) -> dict[str, Any]:
    """Work until told to stop, then save."""
    (run_dir / "running").touch()
    try:
        time.sleep(120)
    except KeyboardInterrupt:
        (run_dir / "saved").touch()
        raise
    raise AssertionError("nobody stopped it")


def crash(run_dir: Path) -> dict[str, Any]:
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGSEGV)
    return {}


def raising(run_dir: Path) -> dict[str, Any]:
    raise RuntimeError("nothing works")


def full_disk(run_dir: Path) -> dict[str, Any]:
    raise StorageError("the disk is full")


def watched_trial(run_dir: Path) -> dict[str, Any]:
    """A trial of a fifth of a second that notes what must never happen."""
    if (run_dir / "result.json").exists():
        (run_dir / "repeated").touch()
    try:
        with files.locked(run_dir / ".lock", "the trial"):
            time.sleep(0.05 + int(run_dir.name[:2], 16) / 1000)
            return write_result(run_dir, fid_digits_cnn=value_of(run_dir))
    except BusyError:
        (run_dir / "twice_at_once").touch()
        raise
