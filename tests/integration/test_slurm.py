"""Studies on a real SLURM of one node: killed, requeued, preempted, out of time; nothing is lost.

The cluster is `tests/cluster/slurm.sh`; without SLURM's packages these tests are skipped.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from gan_bench import files
from gan_bench.errors import EngineError
from gan_bench.sweep import build_engine, build_study, cancel_study, read_trials, run_study
from gan_bench.sweep.engines.slurm import SlurmEngine, SlurmOptions
from gan_bench.sweep.job import read_job

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("sbatch") is None, reason="SLURM is not installed"),
    pytest.mark.skipif(os.geteuid() != 0, reason="the test cluster's daemons run as root"),
]

SCRIPT = Path(__file__).parents[1] / "cluster" / "slurm.sh"
HELPERS = Path(__file__).parents[1] / "sweep"
OPTIONS: dict[str, Any] = {
    "slots": 2,
    "gpus_per_trial": 0,
    "cpus_per_trial": 1,
    "poll_seconds": 0.5,
}
OPTIONS |= {"signal_seconds": 20}
BASE = ["dataset=digits", "architecture=mlp", "evaluator=classifier", "evaluator.n_fake=100"]
BASE += ["device=cpu", "threads=1", "training.checkpoint_every=1000", "training.log_every=20"]


@pytest.fixture(scope="module", autouse=True)
def _cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("slurm")
    before = dict(os.environ)
    os.environ["SLURM_TEST_DIR"] = str(folder)
    try:
        subprocess.run(["bash", SCRIPT, "up"], check=True, timeout=60)
        os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
        os.environ["PATH"] = f"{SCRIPT.parent / 'bin'}:{os.environ['PATH']}"
        os.environ["OMP_NUM_THREADS"] = "1"
        paths = [str(HELPERS), os.environ.get("PYTHONPATH", "")]
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        yield
    finally:
        subprocess.run(["scancel", "--me"], check=False, timeout=60)
        subprocess.run(["bash", SCRIPT, "down"], check=False, timeout=60)
        os.environ.clear()
        os.environ.update(before)


def study_of(steps: int, trials: int, **changes: Any) -> dict[str, Any]:
    """So many trainings, that differ in their seed."""
    return {
        "name": "slurm",
        "base": [*BASE, f"training.steps={steps}"],
        "settings": {"fixed": [{"optimizer.lr": 2e-4}]},
        "seeds": list(range(trials)),
        **changes,
    }


def driver(content: dict[str, Any], folder: Path, **options: Any) -> subprocess.Popen[bytes]:
    """Start a driver of its own, as a user does."""
    path = folder.with_suffix(".yaml")
    OmegaConf.save(OmegaConf.create(content), path)
    engine = [f"engine.{key}={value}" for key, value in {**OPTIONS, **options}.items()]
    words = ["sweep", f"study={path}", f"study_dir={folder}", "engine=slurm", *engine]
    return subprocess.Popen([sys.executable, "-m", "gan_bench", *words])


def wait_until(true: Callable[[], Any], seconds: float = 120) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def running(folder: Path) -> list[Path]:
    """The trials whose jobs train now."""
    found = [path for path in (folder / "trials").glob("*") if (path / "train.jsonl").exists()]
    return [path for path in found if read_job(path).get("state") == "running"]


def figures(folder: Path) -> dict[str, Any]:
    """What the trials of a study came to, without times."""
    found = {}
    for trial in read_trials(folder):
        result = json.loads((folder / "trials" / trial.trial_id / "result.json").read_text())
        metrics = {k: v for k, v in result["metrics"].items() if k != "seconds_evaluate"}
        lines = files.read_jsonl(folder / "trials" / trial.trial_id / "train.jsonl")
        losses = [(line["step"], line["d_loss"], line["g_loss"]) for line in lines]
        found[trial.trial_id] = [trial.status, metrics, result["counts"], losses]
    return found


def starts(folder: Path) -> dict[str, int]:
    """How often each trial was submitted."""
    found: dict[str, int] = {}
    for line in files.read_jsonl(folder / "trials.jsonl"):
        if line["event"] == "submitted":
            found[line["trial_id"]] = found.get(line["trial_id"], 0) + 1
    return found


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], dict[str, Any]]:
    """What an undisturbed run of the same training comes to, here in this process."""
    known: dict[int, dict[str, Any]] = {}

    def run(steps: int) -> dict[str, Any]:
        if steps not in known:
            folder = tmp_path_factory.mktemp("calm")
            engine = build_engine("inline", folder)
            run_study(build_study(study_of(steps, 1)), folder, engine=engine)
            known[steps] = figures(folder)
        return known[steps]

    return run


def test_a_killed_driver_is_followed_by_one_that_attaches(tmp_path: Path) -> None:
    """Twelve trials; the driver dies in the middle, its jobs go on, none is run twice."""
    folder = tmp_path / "study"
    first = driver(study_of(200, 12), folder)
    wait_until(lambda: sum(trial.finished for trial in read_trials(folder)) >= 2)
    wait_until(lambda: running(folder))
    first.kill()
    first.wait()
    begun = {trial.trial_id for trial in read_trials(folder) if trial.job_id and not trial.finished}
    assert begun
    assert driver(study_of(200, 12), folder).wait(300) == 0
    trials = read_trials(folder)
    assert len(trials) == 12 and {trial.status for trial in trials} == {"completed"}
    assert set(starts(folder).values()) == {1}


def test_a_killed_job_is_started_again_and_the_others_go_on(
    tmp_path: Path, calm: Callable[[int], dict[str, Any]]
) -> None:
    folder = tmp_path / "study"
    process = driver(study_of(1500, 2), folder)
    victim = wait_until(lambda: running(folder))[0]
    os.kill(read_job(victim)["pid"], signal.SIGKILL)
    assert process.wait(200) == 0
    trials = {trial.trial_id: trial for trial in read_trials(folder)}
    assert {trial.status for trial in trials.values()} == {"completed"}
    assert trials[victim.name].interruptions == {"lost": 1}
    assert [trial.interruptions for name, trial in trials.items() if name != victim.name] == [{}]
    assert calm(1500).items() <= figures(folder).items()


def test_a_job_that_is_killed_too_often_fails_with_its_reason(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    process = driver(study_of(100_000, 1, retries={"lost": 1}), folder)
    deadline = time.monotonic() + 120
    while process.poll() is None:
        assert time.monotonic() < deadline
        for victim in running(folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(read_job(victim)["pid"], signal.SIGKILL)
        time.sleep(0.2)
    assert process.returncode == 0
    (trial,) = read_trials(folder)
    assert trial.status == "failed"
    assert str(trial.error).startswith("lost 2 times; the last time: the job died (SLURM says FAIL")
    assert "_log.err)" in str(trial.error)


def requeued(folder: Path) -> None:
    (trial,) = read_trials(folder)
    subprocess.run(["scontrol", "requeue", str(trial.job_id)], check=True)


def preempted(folder: Path) -> None:
    """A job of a higher partition wants the whole node."""
    command = ["sbatch", "--partition=high", "--exclusive", "--output=/dev/null", "--wrap=sleep 3"]
    subprocess.run(command, check=True)


@pytest.mark.parametrize("how", [requeued, preempted], ids=["requeue", "preemption"])
def test_a_job_that_must_go_comes_back_and_ends_as_if_undisturbed(
    tmp_path: Path, calm: Callable[[int], dict[str, Any]], how: Callable[[Path], None]
) -> None:
    folder = tmp_path / "study"
    process = driver(study_of(3000, 1), folder)
    (trial_dir,) = wait_until(lambda: running(folder))
    wait_until(lambda: len(files.read_jsonl(trial_dir / "train.jsonl")) >= 5)
    first = read_job(trial_dir)["started"]
    how(folder)
    assert process.wait(240) == 0
    assert read_job(trial_dir)["started"] != first
    assert figures(folder) == calm(3000)


def test_a_job_out_of_time_goes_on_in_another(
    tmp_path: Path, calm: Callable[[int], dict[str, Any]]
) -> None:
    """A minute is SLURM's shortest limit: the job is told after twenty seconds of it."""
    folder = tmp_path / "study"
    process = driver(study_of(25_000, 1), folder, time_minutes=1, signal_seconds=40)
    (trial_dir,) = wait_until(lambda: running(folder))
    first = read_job(trial_dir)["started"]
    assert process.wait(900) == 0
    assert read_job(trial_dir)["started"] != first, "it ended in time: the test shows nothing"
    assert figures(folder) == calm(25_000)


def test_cancelling_saves_the_state_of_jobs_without_a_driver(
    tmp_path: Path, calm: Callable[[int], dict[str, Any]]
) -> None:
    folder = tmp_path / "study"
    process = driver(study_of(3000, 1), folder)
    (trial_dir,) = wait_until(lambda: running(folder))
    wait_until(lambda: len(files.read_jsonl(trial_dir / "train.jsonl")) >= 5)
    process.kill()
    process.wait()
    assert cancel_study(folder, seconds=60) == 1
    assert list((trial_dir / "checkpoints").glob("step_*.pt"))
    (trial,) = read_trials(folder)
    assert trial.state == "preempted" and not trial.finished
    engine = build_engine("slurm", folder, OPTIONS)
    run_study(build_study(study_of(3000, 1)), folder, engine=engine, engine_options=OPTIONS)
    assert figures(folder) == calm(3000)


def test_what_slurm_refuses_is_one_clear_line(tmp_path: Path) -> None:
    engine = SlurmEngine(tmp_path, SlurmOptions(partition="nowhere", gpus_per_trial=0))
    with pytest.raises(EngineError, match="SLURM refuses a job: .*invalid partition") as caught:
        engine.submit(print, [tmp_path / "a"])  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
