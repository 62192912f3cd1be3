"""Studies on a real Ray: of the driver's own, and a cluster that outlives it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from gan_bench import files
from gan_bench.sweep import build_engine, build_study, cancel_study, read_trials, run_study
from gan_bench.sweep.job import read_job

pytest.importorskip("ray", reason="Ray is not installed")
pytestmark = pytest.mark.slow

HELPERS = Path(__file__).parents[1] / "sweep"
ADDRESS = "127.0.0.1:26379"
TRAINING = ["dataset=digits", "architecture=mlp", "evaluator=classifier", "evaluator.n_fake=100"]
TRAINING += ["device=cpu", "threads=1", "training.checkpoint_every=1000", "training.log_every=20"]

DRIVER = """
import sys
from pathlib import Path
from analytic_trial import small_study
from local_trials import watched_trial
from gan_bench.sweep import build_engine, run_study

folder, options = Path(sys.argv[1]), {"slots": 2, "cpus_per_trial": 0.5}
if len(sys.argv) > 2:
    options["address"] = sys.argv[2]
engine = build_engine("ray", folder, options)
study = small_study(retries={"lost": 50})
run_study(study, folder, engine=engine, engine_options=options, trial=watched_trial)
"""


@pytest.fixture(scope="module", autouse=True)
def _paths() -> Iterator[None]:
    before = dict(os.environ)
    paths = [str(HELPERS), os.environ.get("PYTHONPATH", "")]
    os.environ |= {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"}
    os.environ["RAY_AUTH_MODE"] = "disabled"  # it keeps its token in the home directory
    sys.path.insert(0, str(HELPERS))
    yield
    sys.path.remove(str(HELPERS))
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """A cluster of one node; Ray's sockets need a short path."""
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")
    ray = Path(sys.executable).with_name("ray")
    start = [ray, "start", "--head", "--port=26379", "--num-cpus=2", "--include-dashboard=false"]
    start += [f"--temp-dir={folder}", "--disable-usage-stats"]
    subprocess.run(start, check=True, timeout=120, capture_output=True)
    yield ADDRESS
    subprocess.run([ray, "stop", "--force"], check=False, timeout=120, capture_output=True)
    shutil.rmtree(folder, ignore_errors=True)


def drive(folder: Path, *address: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", DRIVER, str(folder), *address])


def wait_until(true: Callable[[], Any], seconds: float = 300) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def running(folder: Path) -> list[Path]:
    found = (folder / "trials").glob("*")
    return [path for path in found if read_job(path).get("state") == "running"]


def check(folder: Path) -> None:
    """Every trial has one result, and none was begun beside another or again."""
    trials = read_trials(folder)
    assert len(trials) == 8 and {trial.status for trial in trials} == {"completed"}
    for trial in trials:
        assert not (folder / "trials" / trial.trial_id / "repeated").exists()
        assert not (folder / "trials" / trial.trial_id / "twice_at_once").exists()


def test_a_killed_worker_is_lost_and_tried_again(tmp_path: Path) -> None:
    driver = drive(tmp_path)
    victims = set()
    while driver.poll() is None and len(victims) < 2:
        for path in running(tmp_path):
            if path.name not in victims:
                os.kill(read_job(path)["pid"], signal.SIGKILL)
                victims.add(path.name)
                break
        time.sleep(0.01)
    assert driver.wait(200) == 0
    check(tmp_path)
    lost = {t.trial_id for t in read_trials(tmp_path) if t.interruptions.get("lost")}
    assert lost and lost <= victims


def test_a_cluster_outlives_the_driver_and_the_next_attaches(tmp_path: Path, cluster: str) -> None:
    for _ in range(3):
        driver = drive(tmp_path, cluster)
        done = len([t for t in read_trials(tmp_path) if t.finished])
        wait_until(lambda done=done: sum(t.finished for t in read_trials(tmp_path)) > done)
        wait_until(lambda: running(tmp_path))
        driver.kill()
        driver.wait()
    driver = drive(tmp_path, cluster)
    assert driver.wait(200) == 0
    check(tmp_path)
    submitted = [line for line in files.read_jsonl(tmp_path / "trials.jsonl") if "job_id" in line]
    assert len(submitted) == len({line["trial_id"] for line in submitted}) == 8


def figures(folder: Path) -> dict[str, Any]:
    found = {}
    for trial in read_trials(folder):
        result = json.loads((folder / "trials" / trial.trial_id / "result.json").read_text())
        metrics = {k: v for k, v in result["metrics"].items() if k != "seconds_evaluate"}
        lines = files.read_jsonl(folder / "trials" / trial.trial_id / "train.jsonl")
        losses = [(line["step"], line["d_loss"], line["g_loss"]) for line in lines]
        found[trial.trial_id] = [trial.status, metrics, result["counts"], losses]
    return found


def test_a_cancelled_training_goes_on_and_ends_as_if_undisturbed(
    tmp_path: Path, cluster: str
) -> None:
    fixed = {"fixed": [{"optimizer.lr": 2e-4}]}
    content = {"name": "r", "base": [*TRAINING, "training.steps=3000"], "settings": fixed}
    path, folder = tmp_path / "r.yaml", tmp_path / "study"
    OmegaConf.save(OmegaConf.create(content), path)
    words = ["sweep", f"study={path}", f"study_dir={folder}", "engine=ray", "engine.slots=1"]
    words += [f"engine.address={cluster}"]
    driver = subprocess.Popen([sys.executable, "-m", "gan_bench", *words])
    wait_until(lambda: list(folder.glob("trials/*/train.jsonl")))
    driver.kill()  # what runs now has no driver
    driver.wait()
    assert cancel_study(folder, seconds=60) == 1
    assert list(folder.glob("trials/*/checkpoints/step_*.pt"))
    assert [trial.state for trial in read_trials(folder)] == ["preempted"]
    assert subprocess.run([sys.executable, "-m", "gan_bench", *words], check=False).returncode == 0
    calm = tmp_path / "calm"
    run_study(build_study(content), calm, engine=build_engine("inline", calm))
    assert figures(folder) == figures(calm)
