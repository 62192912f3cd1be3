"""Worker processes: real ones, killed, told to stop, and orphaned."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from local_trials import busy, crash, full_disk, quick, raising

from gan_bench import files
from gan_bench.errors import ConfigError, EngineError, StorageError
from gan_bench.sweep import Ended
from gan_bench.sweep.engines.local import LocalEngine, LocalOptions
from gan_bench.sweep.job import read_job


def until(engine: LocalEngine, count: int, seconds: float = 60) -> dict[str, Ended]:
    """Wait for so many jobs to be over."""
    found: dict[str, Ended] = {}
    deadline = time.monotonic() + seconds
    while len(found) < count:
        assert time.monotonic() < deadline, found
        found |= {ended.trial_dir.name: ended for ended in engine.wait(1.0)}
    return found


def folders(tmp_path: Path, *names: str) -> list[Path]:
    made = [tmp_path / name for name in names]
    for folder in made:
        folder.mkdir()
    return made


def wait_for(path: Path, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def engine(tmp_path: Path) -> Any:
    made = LocalEngine(tmp_path, LocalOptions(slots=2, threads=1))
    yield made
    made.close()


def test_trials_run_in_processes_of_their_own(engine: LocalEngine, tmp_path: Path) -> None:
    a, b = folders(tmp_path, "a", "b")
    jobs = engine.submit(quick, [a, b])
    assert len(set(jobs)) == 2
    assert until(engine, 2) == {"a": Ended(a, log=a / "job.log"), "b": Ended(b, log=b / "job.log")}
    results = [files.read_json(folder / "result.json", what="result") for folder in (a, b)]
    assert len({result["pid"] for result in results} | {os.getpid()}) == 3
    assert [result["threads"] for result in results] == [1, 1]
    assert "quick says hello" in (a / "job.log").read_text()
    job = read_job(a)
    assert (job["state"], job["job_id"]) == ("ended", jobs[0])


def test_a_killed_worker_is_lost_and_the_others_go_on(engine: LocalEngine, tmp_path: Path) -> None:
    a, b = folders(tmp_path, "a", "b")
    engine.submit(busy, [a])
    engine.submit(quick, [b])
    wait_for(a / "running")
    os.kill(read_job(a)["pid"], signal.SIGKILL)
    found = until(engine, 2)
    assert (found["a"].cause, found["b"].cause) == ("lost", None)
    assert "SIGKILL" in str(found["a"].error)


def test_a_crash_an_exception_and_an_exit(engine: LocalEngine, tmp_path: Path) -> None:
    a, b = folders(tmp_path, "a", "b")
    engine.submit(crash, [a])
    engine.submit(raising, [b])
    found = until(engine, 2)
    assert (found["a"].cause, found["b"].cause) == ("lost", "error")
    assert "SIGSEGV" in str(found["a"].error)
    assert found["b"].error == "RuntimeError: nothing works" and found["b"].log is not None
    assert "Traceback" in found["b"].log.read_text()


def test_a_full_disk_is_not_the_trials_fault(engine: LocalEngine, tmp_path: Path) -> None:
    (a,) = folders(tmp_path, "a")
    engine.submit(full_disk, [a])
    with pytest.raises(StorageError, match="^the disk is full$"):
        until(engine, 1)


def test_cancelled_workers_save_their_state(engine: LocalEngine, tmp_path: Path) -> None:
    a, b = folders(tmp_path, "a", "b")
    engine.submit(busy, [a, b])
    wait_for(a / "running")
    wait_for(b / "running")
    engine.cancel([a])
    found = until(engine, 1)
    assert found["a"].cause == "preempted" and (a / "saved").exists()
    assert read_job(a)["state"] == "preempted" and not (b / "saved").exists()
    engine.close()
    assert (b / "saved").exists()


DRIVER = """
import os, sys, time
from pathlib import Path
from local_trials import busy
from gan_bench.sweep.engines.local import LocalEngine, LocalOptions

folder = Path(sys.argv[1])
LocalEngine(folder, LocalOptions(slots=2, threads=1)).submit(busy, [folder / "a", folder / "b"])
while not ((folder / "a" / "running").exists() and (folder / "b" / "running").exists()):
    time.sleep(0.01)
os.kill(os.getpid(), 9)
"""


@pytest.mark.slow
def test_the_workers_of_a_dead_driver_are_found_and_waited_for(
    engine: LocalEngine, tmp_path: Path
) -> None:
    a, b, c = folders(tmp_path, "a", "b", "c")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    dead = subprocess.run(
        [sys.executable, "-c", DRIVER, str(tmp_path)], env=environment, timeout=60
    )
    assert dead.returncode == -signal.SIGKILL
    assert engine.attach(c, None) is None
    assert engine.attach(a, None) == read_job(a)["job_id"]
    assert engine.attach(b, "vm:1") == "vm:1"
    with pytest.raises(EngineError, match="still runs"):
        engine.submit(busy, [a])
    assert engine.wait(0.3) == []
    engine.cancel([a])
    (ended,) = until(engine, 1).values()
    assert (ended.trial_dir, ended.cause) == (a, "preempted") and (a / "saved").exists()
    os.kill(read_job(b)["pid"], signal.SIGKILL)
    (ended,) = until(engine, 1).values()
    assert (ended.trial_dir, ended.cause) == (b, "lost")
    assert engine.attach(a, None) is None and engine.attach(b, None) is None


def test_the_machine_is_divided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2,5")
    two = LocalEngine(tmp_path, LocalOptions(trials_per_gpu=2))
    assert (two.slots, two.gpus_per_trial, two._threads) == (6, 0.5, 2)
    one = LocalEngine(tmp_path, LocalOptions(gpus=["5"]))
    assert (one.slots, one.gpus_per_trial, one._threads) == (1, 1.0, 16)
    with pytest.raises(ConfigError, match="GPU 1, which is not there; visible: 0, 2, 5"):
        LocalEngine(tmp_path, LocalOptions(gpus=["1"]))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    cpu = LocalEngine(tmp_path, LocalOptions())
    assert (cpu.slots, cpu.gpus_per_trial, cpu._threads) == (8, 1.0, 2)


def test_each_worker_sees_its_gpu_and_slots_are_spread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    engine = LocalEngine(tmp_path, LocalOptions(trials_per_gpu=2, threads=1))
    names = folders(tmp_path, "a", "b", "c", "d")
    engine.submit(quick, names)
    until(engine, 4)
    seen = [files.read_json(name / "result.json", what="result")["gpu"] for name in names]
    assert seen == ["0", "1", "0", "1"]
    engine.close()
