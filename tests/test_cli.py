"""The command line as a user types it: exit codes, one clear line, nothing lost."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gan_bench import files
from gan_bench.cli import main

TINY = [
    "architecture.hidden=16", "latent.dim=4", "training.steps=20", "training.log_every=5",
    "training.checkpoint_every=5", "evaluator.n_fake=64", "evaluator.metrics=[fid,ms_ssim]",
    "device=cpu",
]  # fmt: skip


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gan_bench", *arguments],
        capture_output=True, text=True, env={**os.environ, **environment}, check=False,
    )  # fmt: skip


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    lines = capsys.readouterr().err.splitlines()
    lines = [line for line in lines if "classifier of" not in line]  # progress, not an error
    assert len(lines) == 1 and lines[0].startswith("gan-bench: "), lines
    return lines[0]


def test_help_and_list(capsys):
    assert main([]) == main(["--help"]) == 0
    assert "gan-bench train" in capsys.readouterr().out
    assert main(["list"]) == 0
    assert "non_saturating (ns)" in capsys.readouterr().out
    assert main(["list", "loss", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"loss"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trian"], "did you mean 'train'"),
        (["list", "los"], "did you mean 'loss'"),
        (["list", "--jsn"], "did you mean '--json'"),
        (["evaluate"], "run_dir=DIR, or images=PATH"),
        (["analyze", "run_dir=a"], "analyze needs run_dir=DIR and analysis=NAME"),
        (["analyze", "run_dir=a", "analysis=gilbo", "seed=x"], "seed is 'x'"),
        (["analyze", "run_dir=a", "analysis=gilbo", "steps=3"], "only options of the analysis"),
        (["analyze", "run_dir=a", "analysis=gilboo"], "did you mean 'gilbo'"),
        (["compare", "run_dir=a"], "compare needs run_dir=DIR against=DIR"),
        (["compare", "run_dir=nowhere", "against=b"], "is missing; is nowhere a run directory?"),
        (["evaluate", "run_dir=nowhere"], "is missing; is nowhere a run directory?"),
        (["evaluate", "images=nowhere.zip"], "nowhere.zip"),
        (["sweep"], "study.yaml is missing; is"),
        (["sweep", "study=demmo"], "demo"),
        (["sweep", "study=demo", "--dryrun"], "did you mean '--dry-run'"),
        (["sweep", "study=demo", "--dry-run", "probe=never"], "true or false"),
        (["sweep", "study=demo", "probe=false"], "for --dry-run only"),
        (["sweep", "study=demo", "engine=local", "engine.slot=2"], "did you mean 'slots'"),
        (["sweep", "study=demo", "engine=nowhere.yaml"], "nowhere.yaml is missing"),
        (["sweep", "study=demo", "budget.gpu_hour=2"], "did you mean 'gpu_hours'"),
        (["sweep", "study=demo", "fork=nowhere"], "is nowhere a study directory"),
        (["status"], "study_dir=DIR"),
        (["status", "study_dir=nowhere"], "is nowhere a study directory"),
        (["cancel"], "study_dir=DIR"),
        (["cancel", "study_dir=nowhere"], "is nowhere a study directory"),
        (["sweep", "study=demo", "engine=inlin"], "did you mean 'inline'"),
        (["sweep", "study=demo", "trainin.steps=5"], "trainin"),
        (["sweep", "study=demo", "retry_failed=maybe"], "true or false"),
        (["sweep", "study=demo", "steps"], "field=value"),
        (["report"], "study_dir=DIR"),
        (["report", "study_dir=nowhere"], "no such folder"),
        (["demo", "training.stps=3"], "stps"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(arguments, words, capsys, tmp_path):
    if arguments[0] in ("sweep", "demo"):
        arguments = [*arguments, f"study_dir={tmp_path / 'study'}"]
    assert main(arguments) == 2
    assert words in one_line(capsys)
    assert not (tmp_path / "study").exists()


def test_a_sweep_of_nothing_is_refused(capsys):
    assert main(["sweep"]) == 2
    assert "sweep needs study=NAME" in one_line(capsys)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["loss=hinje"], "did you mean 'hinge'"),
        (["training.stps=5"], "stps"),
        (["+training.stps=5"], "stps"),
        (["optimizer.lr=-1"], "must be above 0"),
        (["dataset=mnist", "dataset.root=nowhere"], "nowhere"),
        (["dataset=digits", "architecture=resnet_stl"], "resnet_stl can't serve"),
        (["device=cuda:99"], "cuda:99"),
        (["evaluator=inception", "evaluator.weights_path=nowhere.pth"], "nowhere.pth"),
        (["plugins=[nowhere.py]"], "nowhere.py"),
        (["evaluator.n_real=400"], "only 359"),
    ],
)
def test_train_refuses_bad_input_before_training(overrides, words, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["gan-bench"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    assert main(["train", *overrides, f"run_dir={tmp_path / 'run'}"]) == 2
    assert words in one_line(capsys)
    assert not (tmp_path / "run" / "train.jsonl").exists()


def test_hydra_leaves_what_the_package_logs_alone(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gan-bench"])
    log = logging.getLogger("gan_bench.trackers")  # whose warnings a user must see
    assert main(["train", "training.stps=5", f"run_dir={tmp_path / 'run'}"]) == 2
    assert not log.disabled and log.isEnabledFor(logging.INFO)


def test_a_disk_that_cannot_be_written_is_one_clear_line(tmp_path: Path):
    (tmp_path / "file").write_text("")
    done = run("train", *TINY, f"run_dir={tmp_path / 'file' / 'run'}")
    assert done.returncode == 2
    assert done.stderr.startswith("gan-bench: cannot write") and "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_checkpoint_that_does_not_fit_is_one_clear_line_and_the_run_goes_on(tmp_path: Path):
    """A limit on file sizes stands in for a full disk: the kernel refuses to write on."""
    resource = pytest.importorskip("resource")
    arguments = [*TINY[1:], "architecture.hidden=400", f"run_dir={tmp_path / 'run'}"]
    done = subprocess.run(
        [sys.executable, "-m", "gan_bench", "train", *arguments],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    last = done.stderr.splitlines()[-1]
    assert "cannot write" in last and "step_00000005.pt" in last and "larger than" in last
    assert not list((tmp_path / "run" / "checkpoints").iterdir())
    assert run("train", *arguments).returncode == 0


@pytest.mark.slow
def test_unexpected_faults_keep_their_traceback(tmp_path: Path):
    (tmp_path / "bad_loss.py").write_text(
        "from gan_bench.registry import LOSSES\n"
        "@LOSSES.register('bad_loss')\n"
        "class Bad:\n"
        "    'A loss with a fault.'\n"
        "    def discriminator(self, real, fake): return 1 / 0\n"
        "    def generator(self, fake): return fake.mean()\n"
    )
    done = run(
        "train", *TINY, f"plugins=[{tmp_path / 'bad_loss.py'}]", "loss=bad_loss",
        f"run_dir={tmp_path / 'run'}",
    )  # fmt: skip
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr and "Traceback" in done.stderr


def test_train_then_evaluate(tmp_path: Path):
    run_dir = tmp_path / "run"
    done = run("train", *TINY, f"run_dir={run_dir}")
    assert done.returncode == 0, done.stderr
    assert "fid_digits_cnn" in done.stdout and str(run_dir) in done.stdout
    again = run("train", *TINY, f"run_dir={run_dir}")
    assert again.returncode == 0 and again.stdout == done.stdout, "a finished run is not repeated"
    changed = run("train", *TINY, f"run_dir={run_dir}", "seed=1")
    assert changed.returncode == 2 and "seed: 0 -> 1" in changed.stderr
    evaluated = run("evaluate", f"run_dir={run_dir}", "evaluator.n_fake=100", "device=cpu")
    assert evaluated.returncode == 0, evaluated.stderr
    assert json.loads(evaluated.stdout)["n_fake"] == 100


@pytest.mark.slow
def test_a_run_is_kept_where_its_config_says(tmp_path: Path, monkeypatch):
    """Without run_dir it is results/runs/<names>-<digest>; nothing else is left behind."""
    monkeypatch.chdir(tmp_path)
    assert run("train", *TINY).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["results"]
    (run_dir,) = (tmp_path / "results" / "runs").iterdir()
    assert run_dir.name.startswith("digits-mlp-non_saturating-")


def test_evaluate_images_of_any_tool(tmp_path: Path, capsys):
    images = np.random.default_rng(0).integers(0, 256, (50, 1, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", images=images)
    arguments = ["evaluate", f"images={tmp_path / 'images.npz'}", "dataset=digits"]
    assert main([*arguments, "evaluator.metrics=[fid]", "device=cpu"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["n_fake"] == 50 and result["fid_digits_cnn"] > 10


def test_evaluate_images_against_a_folder_or_published_statistics(tmp_path: Path, capsys):
    draws = np.random.default_rng(0)
    for name in ("a", "b"):
        np.savez(tmp_path / f"{name}.npz", draws.integers(0, 256, (60, 1, 8, 8), dtype=np.uint8))
    arguments = ["evaluate", f"images={tmp_path / 'a.npz'}", f"reference={tmp_path / 'b.npz'}"]
    digits = [*arguments, "dataset=digits", "evaluator.metrics=[fid]", "device=cpu"]
    assert main(digits) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert (result["n_real"], result["n_fake"], result["split"]) == (60, 60, "b.npz")
    # the table is for people, and apart from what a program reads
    assert "fid_digits_cnn" in captured.err and "n_real 60" in captured.err
    # without a data set there is no classifier of one: Inception, whose weights aren't here
    assert main([*arguments, "evaluator.weights_path=nowhere.pth"]) == 2
    assert "Inception weights nowhere.pth are missing" in one_line(capsys)
    np.savez(tmp_path / "stats.npz", mu=np.zeros(64), sigma=np.eye(64))
    digits[2] = f"reference={tmp_path / 'stats.npz'}"
    assert main(digits) == 0
    assert json.loads(capsys.readouterr().out)["n_real"] is None
    assert main([*digits[:-2], "evaluator.metrics=[kid]"]) == 2
    assert "holds only a mean and a covariance" in one_line(capsys)


def test_images_in_sets_have_an_interval(tmp_path: Path, capsys):
    images = np.random.default_rng(0).integers(0, 256, (100, 1, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", images)
    arguments = [
        "evaluate", f"images={tmp_path / 'a.npz'}", "dataset=digits", "evaluator.metrics=[fid]",
        "evaluator.sets=4", "device=cpu",
    ]  # fmt: skip
    assert main(arguments) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    spread = result["uncertainty"]["fid_digits_cnn"]
    assert result["n_fake"] == 25 and result["sets"] == 4 and len(spread["values"]) == 4
    assert spread["low"] <= result["fid_digits_cnn"] <= spread["high"]
    assert "95% [" in captured.err and "mean of 4 sets" in captured.err
    assert main([*arguments, "evaluator.n_fake=26"]) == 2
    assert "n_generated=26 in 4 sets, but there are only 100" in one_line(capsys)


def test_compare_two_runs(tmp_path: Path, capsys):
    for seed, steps in ((0, 0), (1, 20)):
        arguments = [*TINY, f"training.steps={steps}", f"seed={seed}"]
        assert main(["train", *arguments, f"run_dir={tmp_path / str(seed)}"]) == 0
    capsys.readouterr()
    command = ["compare", f"run_dir={tmp_path / '0'}", f"against={tmp_path / '1'}"]
    assert main([*command, "evaluator.sets=3", "device=cpu"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    each = found["difference"]["fid_digits_cnn"]
    means = found["first"]["fid_digits_cnn"] - found["second"]["fid_digits_cnn"]
    assert each["mean"] == pytest.approx(means) and len(each["values"]) == 3
    assert "3 paired sample sets" in captured.err
    # the same run twice is exactly equal: the sets are paired
    assert main([*command[:2], f"against={tmp_path / '0'}", "evaluator.sets=2", "device=cpu"]) == 0
    again = json.loads(capsys.readouterr().out)["difference"]["fid_digits_cnn"]
    assert again["values"] == [0.0, 0.0]
    assert main([*command, "evaluator.sets=1"]) == 2
    assert "2 sample sets or more" in one_line(capsys)


@pytest.mark.slow
def test_interrupted_training_exits_with_130_and_goes_on(tmp_path: Path):
    run_dir = tmp_path / "run"
    arguments = [*TINY, "training.steps=100000", f"run_dir={run_dir}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "gan_bench", "train", *arguments],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not files.read_jsonl(run_dir / "train.jsonl"):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate()
    assert process.returncode == 130 and "run the same command again" in error
    assert "Traceback" not in error
    assert list((run_dir / "checkpoints").glob("step_*.pt"))


@pytest.mark.slow
def test_multirun_reaches_the_sweeper(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run(
        "train", "--multirun", "hydra/sweeper=gan_bench", "loss=hinge,wasserstein",
        "optimizer.lr=tag(log, interval(1e-4, 1e-2))", "hydra.sweeper.trials=1", *TINY,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (study,) = (tmp_path / "results" / "studies").iterdir()
    finished = [r for r in files.read_jsonl(study / "trials.jsonl") if r["event"] == "finished"]
    assert len(finished) >= 2 and all(r["status"] == "completed" for r in finished)


@pytest.mark.slow
def test_sweep_and_report(tmp_path: Path):
    study = tmp_path / "small.yaml"
    study.write_text(
        "name: small\n"
        "objective: {metric: fid}\n"
        f"base: [{', '.join(json.dumps(o) for o in TINY)}]\n"
        "cells: {loss: [hinge, wasserstein]}\n"
        "settings: {fixed: [{optimizer.lr: 1e-3}, {optimizer.lr: 1e30}]}\n"
    )
    folder = tmp_path / "study"
    done = run("sweep", f"study={study}", f"study_dir={folder}")
    assert done.returncode == 0, done.stderr
    assert (folder / "report" / "report.html").exists()
    assert "(real against real)" in done.stdout and "(untrained generator)" in done.stdout
    baselines = json.loads((folder / "baselines.json").read_text())
    assert baselines["real"]["fid_digits_cnn"] < baselines["untrained"]["fid_digits_cnn"]
    again = run("sweep", f"study={study}", f"study_dir={folder}")
    assert again.returncode == 0 and "4 trials, 4 done before" in again.stderr
    changed = run("sweep", f"study={study}", f"study_dir={folder}", "training.batch_size=8")
    assert changed.returncode == 2 and "batch_size" in changed.stderr
