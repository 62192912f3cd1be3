"""Several trials in one process: each leaves the files that it leaves alone."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from run_files import SMALL, assert_same_run, make

from gan_bench import config as configs
from gan_bench import files
from gan_bench.errors import BusyError
from gan_bench.run import request_stop, run_trial
from gan_bench.together import run_trials, stack_key

MIXED = [
    *SMALL, "training.n_disc=2", "training.log_every=7", "training.checkpoint_every=10",
    "training.evaluate_every=20", "training.ema_decay=0.9", "regularizer=gradient_penalty",
    "normalizer=spectral_norm",
]  # fmt: skip


def result_of(run_dir: Path) -> dict[str, Any]:
    return json.loads((run_dir / "result.json").read_text())


def group(folder: Path, *overrides: str) -> list[Path]:
    """Three trials of unlike lengths, learning rates and penalties."""
    return [
        make(
            folder / f"t{k}", *MIXED, f"seed={k}", f"training.steps={40 + 5 * k}",
            f"optimizer.lr={2e-4 * (k + 1)}", f"regularizer.weight={k + 1}", *overrides,
        )
        for k in range(3)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A group that was never interrupted."""
    run_dirs = group(tmp_path_factory.mktemp("reference"))
    run_trials(run_dirs)
    return run_dirs


def test_together_they_come_to_what_they_come_to_alone(reference, tmp_path):
    for run_dir, alone in zip(reference, group(tmp_path), strict=True):
        run_trial(alone)
        ours, theirs = result_of(run_dir), result_of(alone)
        assert ours["status"] == theirs["status"] == "completed"
        assert ours["counts"] == theirs["counts"]
        name = "fid_digits_cnn"
        assert ours["metrics"][name] == pytest.approx(theirs["metrics"][name], rel=2e-3)
        for kind in ("train.jsonl", "evaluations.jsonl"):
            lines = [files.read_jsonl(each / kind) for each in (run_dir, alone)]
            assert [[line["step"] for line in each] for each in lines][0] == [
                line["step"] for line in lines[1]
            ]
        sizes = [
            sum(path.stat().st_size for path in (each / "checkpoints").iterdir())
            for each in (run_dir, alone)
        ]
        assert sizes[0] == pytest.approx(sizes[1], rel=0.02), "only a trial's own weights are saved"
        losses = [files.read_jsonl(each / "train.jsonl")[0]["d_loss"] for each in (run_dir, alone)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-3)
        assert {path.name for path in run_dir.iterdir()} == {path.name for path in alone.iterdir()}


def start(run_dirs: list[Path]) -> subprocess.Popen[bytes]:
    code = (
        "import sys, torch; from pathlib import Path; from gan_bench.together import run_trials;"
        "torch.set_num_threads(1); run_trials([Path(each) for each in sys.argv[1:]])"
    )
    return subprocess.Popen([sys.executable, "-c", code, *map(str, run_dirs)], env=os.environ)


def wait_for_lines(run_dir: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    while len(files.read_jsonl(run_dir / "train.jsonl")) < count:
        assert process.poll() is None, "it ended before it was interrupted"
        time.sleep(0.002)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_interrupted_they_go_on_to_the_same_bits(number, reference, tmp_path):
    run_dirs = group(tmp_path)
    process = start(run_dirs)
    wait_for_lines(run_dirs[2], 3, process)
    process.send_signal(number)
    assert process.wait() != 0
    run_trials(run_dirs)
    for run_dir, whole in zip(run_dirs, reference, strict=True):
        assert_same_run(whole, run_dir)


def test_one_that_diverges_fails_or_is_stopped_leaves_the_others_alone(reference, tmp_path):
    run_dirs = group(tmp_path)
    wild = make(tmp_path / "wild", *MIXED, "training.steps=60", "optimizer.lr=1e30", "seed=3")
    stopped = make(tmp_path / "stopped", *MIXED, "training.steps=60", "seed=4")
    request_stop(stopped, "enough")
    broken = make(tmp_path / "broken", *MIXED, "training.steps=60", "seed=5")
    (broken / "checkpoints").mkdir()
    (broken / "checkpoints" / "step_00000010.pt").write_bytes(b"no checkpoint")
    run_trials([wild, *run_dirs, stopped, broken])
    assert result_of(wild)["status"] == "diverged"
    assert (result_of(stopped)["status"], result_of(stopped)["error"]) == ("stopped", "enough")
    assert result_of(broken)["status"] == "failed" and "corrupt" in result_of(broken)["error"]
    for run_dir, whole in zip(run_dirs, reference, strict=True):
        name = "fid_digits_cnn"
        ours, theirs = result_of(run_dir)["metrics"][name], result_of(whole)["metrics"][name]
        assert ours == pytest.approx(theirs, rel=2e-3)


def test_finished_trials_are_left_as_they_are(reference, tmp_path):
    copies = [shutil.copytree(run_dir, tmp_path / run_dir.name) for run_dir in reference]
    before = [(path / "result.json").stat().st_mtime_ns for path in copies]
    run_trials(copies)
    assert [(path / "result.json").stat().st_mtime_ns for path in copies] == before


def test_one_that_runs_elsewhere_is_refused(tmp_path):
    run_dirs = group(tmp_path)
    with files.locked(run_dirs[1] / ".lock", "the trial"), pytest.raises(BusyError):
        run_trials(run_dirs)


def test_only_scalars_may_differ():
    def key(*overrides: str) -> str:
        return stack_key(configs.compose([*MIXED, *overrides]))

    same = ["seed=3", "optimizer.lr=0.1", "optimizer.beta2=0.9", "regularizer.weight=3",
            "training.steps=7", "training.evaluate_every=3", "run_dir=elsewhere"]  # fmt: skip
    assert len({key(), *map(key, same)}) == 1
    other = ["loss=hinge", "regularizer=dragan", "normalizer=none", "training.n_disc=1",
             "training.batch_size=8", "architecture.hidden=16", "latent.dim=4",
             "training.precision=bf16", "training.images=100"]  # fmt: skip
    assert len({key(), *map(key, other)}) == 1 + len(other)
    for alone in ("training.accumulate=2", "trackers=[tensorboard]"):
        assert key(alone, "run_dir=a") != key(alone, "run_dir=b")


PLUGIN = '''
from gan_bench.registry import LOSSES

@LOSSES.register("branching")
class Branching:
    """A loss that looks at its values, which can't be done for several trials at once."""
    boundary = None
    def discriminator(self, real_logits, fake_logits):
        loss = fake_logits.mean() - real_logits.mean()
        return loss if loss > -1 else loss * 0.5
    def generator(self, fake_logits):
        return -fake_logits.mean()
'''


def test_what_cannot_be_stacked_trains_one_by_one(tmp_path, caplog):
    plugin = tmp_path / "branching.py"
    plugin.write_text(PLUGIN)
    run_dirs = [
        make(tmp_path / f"t{k}", f"plugins=[{plugin}]", "loss=branching", *SMALL,
             "training.steps=12", f"seed={k}")
        for k in range(2)
    ]  # fmt: skip
    run_trials(run_dirs)
    assert "one by one" in caplog.text
    assert [result_of(run_dir)["status"] for run_dir in run_dirs] == ["completed"] * 2
