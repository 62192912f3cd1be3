"""A trial as a user sees it: files, resuming after any death, divergence, errors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from run_files import SMALL, THOROUGH, TIMES, assert_same_run, make, without_times

from gan_bench import config as configs
from gan_bench import files
from gan_bench.errors import BusyError, CheckpointError, ConfigError, GanBenchError
from gan_bench.listener import RunListener
from gan_bench.measure import evaluate_run
from gan_bench.result import best_evaluation
from gan_bench.run import run_trial, train
from gan_bench.training import checkpoint


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never interrupted."""
    run_dir = make(tmp_path_factory.mktemp("reference") / "run", *THOROUGH)
    assert train(run_dir)["status"] == "completed"
    return run_dir


def test_files_of_a_run(reference: Path):
    result = json.loads((reference / "result.json").read_text())
    assert result["schema"] == 1 and result["status"] == "completed"
    assert result["counts"] == {"g_steps": 150, "d_steps": 300, "images_seen": 4800}
    assert result["metrics"]["fid_digits_cnn"] > 0
    assert result["metrics"]["n_real"] == result["metrics"]["n_fake"] == 128
    assert result["metrics"]["extractor"] == "classifier:digits"
    assert result["protocol"] == result["metrics"]["protocol"]
    assert set(result["versions"]) >= {"torch", "gan_bench", "python"}
    steps = [line["step"] for line in files.read_jsonl(reference / "train.jsonl")]
    assert steps == [*range(7, 150, 7), 150]
    steps = [line["step"] for line in files.read_jsonl(reference / "evaluations.jsonl")]
    assert steps == [40, 80, 120, 150]
    grids = sorted(path.name for path in (reference / "samples").iterdir())
    assert grids == [f"step_{step:06d}.png" for step in (0, 30, 40, 60, 80, 90, 120, 150)]


def test_same_config_same_bytes(reference: Path, tmp_path: Path):
    run_dir = make(tmp_path / "again", *THOROUGH)
    torch.manual_seed(12345)  # what the process did before does not matter
    torch.rand(7)
    before = torch.get_rng_state()
    train(run_dir)
    assert torch.equal(torch.get_rng_state(), before), "the caller's random state is its own"
    assert_same_run(reference, run_dir)


def test_another_seed_gives_another_run(reference: Path, tmp_path: Path):
    run_dir = make(tmp_path / "other", *THOROUGH, "seed=1")
    train(run_dir)
    assert without_times(run_dir / "train.jsonl") != without_times(reference / "train.jsonl")


def start(run_dir: Path) -> subprocess.Popen[bytes]:
    code = (
        "import sys, torch; from pathlib import Path; from gan_bench.run import train;"
        "torch.set_num_threads(1); train(Path(sys.argv[1]))"
    )
    return subprocess.Popen([sys.executable, "-c", code, str(run_dir)], env=os.environ)


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on_by_itself_to_the_same_end(reference: Path, tmp_path: Path):
    run_dir = make(tmp_path / "killed", *THOROUGH)
    kills = 0
    for kill_after_line in (1, 6, 12, 17):  # wherever the process is by then
        process = start(run_dir)
        while process.poll() is None:
            if len(files.read_jsonl(run_dir / "train.jsonl")) >= kill_after_line:
                process.send_signal(signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.002)
        process.wait()
    assert kills >= 2
    assert not (run_dir / "result.json").exists()
    train(run_dir)
    assert_same_run(reference, run_dir)


@pytest.mark.slow
def test_terminated_it_saves_its_state_and_goes_on(reference: Path, tmp_path: Path):
    run_dir = make(tmp_path / "terminated", *THOROUGH, "training.checkpoint_every=1000000")
    process = start(run_dir)
    while len(files.read_jsonl(run_dir / "train.jsonl")) < 3:
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGTERM)
    process.wait()
    assert 0 < checkpoint.load_newest(run_dir / "checkpoints")["step"] < 150
    train(run_dir)
    for name in ("train.jsonl", "evaluations.jsonl"):
        assert without_times(run_dir / name) == without_times(reference / name)


class Terminating(RunListener):
    """SIGTERM as an evaluation begins, when no update is there to be waited for."""

    def evaluating(self, step: int) -> None:
        os.kill(os.getpid(), signal.SIGTERM)


def test_terminated_in_an_evaluation_it_saves_its_state_too(tmp_path: Path):
    run_dir = make(tmp_path / "run", *THOROUGH, "training.checkpoint_every=1000000")
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with pytest.raises(KeyboardInterrupt):
            train(run_dir, Terminating())
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)
    found = checkpoint.load_newest(run_dir / "checkpoints")
    assert found is not None and found["step"] == 40


@pytest.mark.slow
def test_a_corrupt_checkpoint_costs_only_the_way_to_the_one_before(reference: Path, tmp_path: Path):
    run_dir = make(tmp_path / "corrupt", *THOROUGH)
    process = start(run_dir)
    while len(checkpoint.existing(run_dir / "checkpoints")) < 2:
        time.sleep(0.002)
    process.kill()
    process.wait()
    newest = checkpoint.existing(run_dir / "checkpoints")[0]
    newest.write_bytes(newest.read_bytes()[:-100])
    with pytest.warns(UserWarning, match="is corrupt"):
        train(run_dir)
    assert_same_run(reference, run_dir)


def test_a_finished_run_returns_its_result_at_once(reference: Path):
    assert train(reference) == json.loads((reference / "result.json").read_text())


def test_divergence_ends_the_trial_with_what_is_known(tmp_path: Path):
    run_dir = make(
        tmp_path / "run", *SMALL, "loss=wasserstein", "optimizer.lr=1e30", "training.steps=100",
        "training.log_every=1", "training.evaluate_every=1", "evaluator.metrics=[ms_ssim]",
    )  # fmt: skip
    result = run_trial(run_dir)
    assert result["status"] == "diverged" and "NaN or infinite" in result["error"]
    assert result["counts"]["g_steps"] < 100
    assert json.loads((run_dir / "result.json").read_text())["status"] == "diverged"
    assert run_trial(run_dir) == result, "it is not run again"


def test_a_fault_of_the_trial_is_its_result(tmp_path: Path):
    run_dir = make(tmp_path / "run", *SMALL[1:], "architecture=resnet_stl")
    result = run_trial(run_dir)
    assert result["status"] == "failed" and "resnet_stl" in result["error"]
    assert "Traceback" in (run_dir / "error.log").read_text()
    with pytest.raises(ConfigError):
        train(run_dir)


@pytest.mark.slow
def test_a_run_that_another_process_runs_is_left_alone(tmp_path: Path):
    run_dir = make(tmp_path / "run", *THOROUGH, "training.steps=100000")
    process = start(run_dir)
    while not files.read_jsonl(run_dir / "train.jsonl"):
        assert process.poll() is None
        time.sleep(0.01)
    with pytest.raises(BusyError, match="in use"):
        run_trial(run_dir)
    process.kill()
    process.wait()
    assert not (run_dir / "result.json").exists()


def test_another_config_in_the_same_directory_is_refused(reference: Path):
    with pytest.raises(ConfigError, match=r"training.steps: 150 -> 151.*another run_dir"):
        make(reference, *THOROUGH, "training.steps=151")


def test_missing_inception_weights_are_found_out_before_training(tmp_path: Path):
    run_dir = make(
        tmp_path / "run", *SMALL, "evaluator=inception", "evaluator.weights_path=/nowhere.pth"
    )
    with pytest.raises(GanBenchError, match="nowhere.pth"):
        train(run_dir)
    assert not (run_dir / "train.jsonl").exists()


def test_options_of_speed_do_not_change_what_is_measured(reference: Path, tmp_path: Path):
    """The same weights under channels_last and bf16 options give the same figures."""
    run_dir = tmp_path / "fast"
    config = configs.load(reference / "config.yaml")
    config.training.channels_last, config.training.precision = True, "bf16"
    configs.save(config, run_dir / "config.yaml")
    content = checkpoint.load_newest(reference / "checkpoints")
    del content["schema"]
    checkpoint.save(run_dir / "checkpoints", content.pop("step"), content)
    a, b = (evaluate_run(run, device="cpu") for run in (reference, run_dir))
    assert {k: v for k, v in a.items() if k not in TIMES} == {
        k: v for k, v in b.items() if k not in TIMES
    }


def test_evaluating_a_finished_run_gives_the_figures_of_its_end(reference: Path):
    at_end = json.loads((reference / "result.json").read_text())["metrics"]
    now = evaluate_run(reference, device="cpu")
    assert now["fid_digits_cnn"] == at_end["fid_digits_cnn"]


def test_the_best_generator_is_kept(reference: Path):
    best = json.loads((reference / "result.json").read_text())["best"]
    again = evaluate_run(reference, device="cpu", which="best")
    assert (again["step"], again["fid_digits_cnn"]) == (best["step"], best["fid_digits_cnn"])
    with pytest.raises(ConfigError, match="did you mean 'best'"):
        evaluate_run(reference, device="cpu", which="bst")


def test_bf16_and_channels_last_train(tmp_path: Path):
    run_dir = make(
        tmp_path / "run", "architecture=sndcgan", "architecture.width=0.05", "training.steps=3",
        "training.precision=bf16", "training.channels_last=true", "regularizer=dragan",
        "normalizer=spectral_norm", "evaluator.n_fake=64", "evaluator.metrics=[fid]",
    )  # fmt: skip
    assert train(run_dir)["status"] == "completed"
    weights = checkpoint.load_newest(run_dir / "checkpoints")["generator"]
    assert all(w.dtype == torch.float32 for w in weights.values() if w.is_floating_point())


def test_a_checkpoint_of_another_network_is_refused(reference: Path, tmp_path: Path):
    run_dir = make(tmp_path / "run", *THOROUGH, "architecture.hidden=16")
    (run_dir / "checkpoints").symlink_to(reference / "checkpoints")
    with pytest.raises(CheckpointError, match="does not fit"):
        train(run_dir)


def test_best_is_the_lowest_fid_whatever_its_extractor():
    lines = [
        {"step": 1, "fid_digits_cnn": 5.0}, {"step": 2, "fid_digits_cnn": 3.0},
        {"step": 3, "fid_digits_cnn": 4.0},
    ]  # fmt: skip
    assert best_evaluation(lines)["step"] == 2
    assert (
        best_evaluation([{"step": 1, "kid_mean": 2.0}, {"step": 2, "kid_mean": 1.0}])["step"] == 2
    )
    assert best_evaluation([]) == {}
