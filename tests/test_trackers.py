"""Trackers hold what the files hold, go on after an interruption, and never touch a run."""

from __future__ import annotations

import logging
import math
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gan_bench import config as configs
from gan_bench import files
from gan_bench.errors import ConfigError
from gan_bench.listener import RunListener
from gan_bench.run import run_trial, train
from gan_bench.trackers import TRACKERS, build_trackers

TINY = [
    "architecture.hidden=16", "latent.dim=4", "training.steps=40", "training.log_every=10",
    "training.checkpoint_every=20", "training.evaluate_every=20", "training.sample_every=20",
    "evaluator.n_fake=64", "evaluator.metrics=[fid]", "device=cpu", "threads=1",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "wandb_config"))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


def prepared(run_dir: Path, trackers: str = "[]") -> Path:
    configs.save(
        configs.compose([*TINY, f"run_dir={run_dir}", f"trackers={trackers}"]),
        run_dir / "config.yaml",
    )
    return run_dir


class Interrupting(RunListener):
    """Ctrl-C after the first evaluation and some more steps; a run holds it back till then."""

    def logged(self, step: int, progress: Any, images_per_second: float) -> None:
        if step == 30:
            signal.raise_signal(signal.SIGINT)


def interrupted_and_continued(run_dir: Path) -> dict[str, Any]:
    with pytest.raises(KeyboardInterrupt):
        train(run_dir, Interrupting())
    return run_trial(run_dir)


def expected(run_dir: Path) -> dict[str, dict[int, float]]:
    """What the files say: key -> step -> value."""
    found: dict[str, dict[int, float]] = {}
    for line in files.read_jsonl(run_dir / "train.jsonl"):
        for key in ("d_loss", "g_loss", "penalty"):
            found.setdefault(f"train/{key}", {})[line["step"]] = line[key]
    for line in files.read_jsonl(run_dir / "evaluations.jsonl"):
        found.setdefault("eval/fid_digits_cnn", {})[line["step"]] = line["fid_digits_cnn"]
    return found


def assert_same(found: Mapping[str, list[tuple[int, float]]], run_dir: Path) -> None:
    for key, values in expected(run_dir).items():
        steps = [step for step, _ in found[key]]
        assert steps == sorted(set(steps)) == sorted(values), key
        assert all(math.isclose(v, values[step], rel_tol=1e-6) for step, v in found[key])


def test_tensorboard_holds_what_the_files_hold(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run_dir = prepared(tmp_path / "run", "[tensorboard]")
    assert interrupted_and_continued(run_dir)["status"] == "completed"
    events = EventAccumulator(str(run_dir / "tensorboard")).Reload()
    tags = events.Tags()["scalars"]
    found = {tag: [(each.step, each.value) for each in events.Scalars(tag)] for tag in tags}
    assert_same(found, run_dir)
    assert {each.step for each in events.Images("samples")} == {0, 20, 40}


def test_mlflow_holds_what_the_files_hold_in_one_run(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow", reason="MLflow is not installed")
    pytest.importorskip("sqlalchemy", reason="MLflow's database needs SQLAlchemy")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    run_dir = prepared(tmp_path / "run", f"[{{name: mlflow, uri: '{uri}', experiment: gans}}]")
    assert interrupted_and_continued(run_dir)["status"] == "completed"
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("gans")
    (run,) = client.search_runs([experiment.experiment_id])
    found = {
        key: [(p.step, p.value) for p in client.get_metric_history(run.info.run_id, key)]
        for key in expected(run_dir)
    }
    assert_same(found, run_dir)
    assert run.info.status == "FINISHED" and run.data.tags["gan_bench.status"] == "completed"
    assert run.data.params["optimizer.lr"] == "0.0002"


def test_wandb_runs_offline_and_resumes_the_same_run(tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed")
    run_dir = prepared(tmp_path / "run", "[wandb]")
    assert interrupted_and_continued(run_dir)["status"] == "completed"
    written = sorted((run_dir / "wandb").glob("offline-run-*/run-*.wandb"))
    key = (run_dir / ".tracker").read_text()
    assert written and {path.name for path in written} == {f"run-{key}.wandb"}
    assert sum(path.stat().st_size for path in written) > 1000


@pytest.mark.parametrize("when", ["open", "scalars", "image", "result", "close"])
def test_a_tracker_that_fails_is_switched_off_and_the_run_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, when: str
) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")

    def fail(*_: Any) -> None:
        raise OSError("the network is down")

    monkeypatch.setattr(TRACKERS["tensorboard"], when, fail)
    with caplog.at_level(logging.WARNING):
        tracked = run_trial(prepared(tmp_path / "tracked", "[tensorboard]"))
    warnings = [record.message for record in caplog.records if "tracker" in record.message]
    expected = "tracker tensorboard is off for the rest of the run: the network is down"
    assert warnings == [expected]
    plain = run_trial(prepared(tmp_path / "plain"))
    assert without_times(tracked) == without_times(plain)
    weights = [tmp_path / name / "checkpoints" / "best.pt" for name in ("tracked", "plain")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def without_times(result: dict[str, Any]) -> list[Any]:
    metrics = [dict(result[key]) for key in ("metrics", "best")]
    for each in metrics:
        each.pop("seconds_evaluate")
    return [*metrics, result["counts"], result["status"]]


@pytest.mark.parametrize(
    ("trackers", "message"),
    [
        ("[tensorbord]", "unknown tracker 'tensorbord'; did you mean 'tensorboard'"),
        ("[{name: wandb, projet: x}]", "unknown option of tracker wandb 'projet'; did you mean"),
        ("[{name: wandb, mode: 3}]", "mode of wandb is 3; it must be a text"),
        ("[{name: wandb, mode: ofline}]", "mode of wandb 'ofline'; did you mean 'offline'"),
        ("[{project: x}]", "neither a name nor a mapping"),
    ],
)
def test_mistakes_are_one_line_before_training(tmp_path: Path, trackers: str, message: str) -> None:
    run_dir = prepared(tmp_path / "run", trackers)
    with pytest.raises(ConfigError, match=message):
        train(run_dir)
    assert not (run_dir / "train.jsonl").exists()


def test_a_missing_package_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TRACKERS["wandb"], "package", "no_such_package")
    config = configs.compose([*TINY, "trackers=[wandb]"])
    with pytest.raises(ConfigError, match=r"missing \(no_such_package\); pip install"):
        build_trackers(config, tmp_path)


def test_trackers_do_not_change_what_a_run_is() -> None:
    plain, tracked = (configs.compose([*TINY, f"trackers={t}"]) for t in ("[]", "[wandb]"))
    assert configs.identity(plain) == configs.identity(tracked)
