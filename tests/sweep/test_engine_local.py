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

from gan_bench import config as configs
from gan_bench import files
from gan_bench.errors import ConfigError, EngineError, StorageError
from gan_bench.run import prepare, run_trial
from gan_bench.sweep import Ended
from gan_bench.sweep.engines.local import LocalEngine, LocalOptions, divide
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


def trial_of(study_dir: Path, name: str, *overrides: str) -> Path:
    return prepare(configs.compose([*overrides, f"run_dir={study_dir / name}"]))


def test_trials_are_shared_out_by_what_can_train_together(tmp_path: Path) -> None:
    ns = [trial_of(tmp_path, f"ns{k}", f"seed={k}") for k in range(4)]
    ls = [trial_of(tmp_path, f"ls{k}", "loss=least_squares", f"seed={k}") for k in range(2)]
    mixed = [ns[0], ls[0], ns[1], ls[1], ns[2], ns[3]]
    assert divide(mixed, 2, 12) == [ns[:3], [ns[3], *ls]]
    assert divide(mixed, 3, 12) == [ns[:2], ns[2:], ls]
    assert divide(mixed, 2, 2) == [ns[:2], ns[2:], ls]
    assert divide(mixed, 2, 1) == [[path] for path in mixed]


def test_a_worker_trains_several_trials_together(tmp_path: Path) -> None:
    small = ["architecture.hidden=8", "training.steps=20", "evaluator.metrics=[ms_ssim]",
             "evaluator.n_fake=32", "device=cpu"]  # fmt: skip
    paths = [trial_of(tmp_path, f"t{k}", *small, f"seed={k}") for k in range(3)]
    engine = LocalEngine(tmp_path, LocalOptions(slots=2, threads=1, trials_per_device=2))
    try:
        assert engine.slots == 4 and engine.gpus_per_trial == 1
        jobs = engine.submit(run_trial, paths)
        assert jobs[0] == jobs[1] != jobs[2], "two workers have three trials"
        assert engine.slots == 3, "no worker is free for a fourth"
        assert read_job(paths[0]).get("job_id") in (None, jobs[0])
        found = until(engine, 3)
        assert {ended.cause for ended in found.values()} == {None}
        assert engine.slots == 4
    finally:
        engine.close()
    for path in paths:
        assert files.read_json(path / "result.json", what="result")["status"] == "completed"
        assert read_job(path)["state"] == "ended"
    assert "trained together with t0" in (paths[1] / "job.log").read_text()


def test_a_worker_that_dies_leaves_all_its_trials_to_be_started_again(tmp_path: Path) -> None:
    small = ["architecture.hidden=8", "training.steps=100000", "evaluator.metrics=[ms_ssim]",
             "evaluator.n_fake=32", "device=cpu", "training.log_every=5"]  # fmt: skip
    paths = [trial_of(tmp_path, f"t{k}", *small, f"seed={k}") for k in range(2)]
    engine = LocalEngine(tmp_path, LocalOptions(slots=1, threads=1, trials_per_device=2))
    try:
        jobs = engine.submit(run_trial, paths)
        wait_for(paths[1] / "train.jsonl")
        os.kill(int(jobs[0].rpartition(":")[2]), signal.SIGKILL)
        assert {ended.cause for ended in until(engine, 2).values()} == {"lost"}
        (paths[1] / "train.jsonl").unlink()
        engine.submit(run_trial, paths)
        wait_for(paths[1] / "train.jsonl")
        engine.cancel([paths[0]])
        assert {ended.cause for ended in until(engine, 2).values()} == {"preempted"}
        assert all((path / "checkpoints").exists() for path in paths)
    finally:
        engine.close()


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
from gan_bench.sweep.engines.local import LocalEngine, LocalOptions, divide

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
