"""The driver: complete, resumable after any death, steady on asynchronous engines."""

from __future__ import annotations

import dataclasses
import functools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from analytic_trial import CONTENT, analytic_trial, small_study, value_of, write_result

from gan_bench import config as configs
from gan_bench import files
from gan_bench.errors import BusyError, ConfigError, StorageError, StudyError
from gan_bench.sweep import (
    Study,
    StudyEvent,
    Summary,
    Trial,
    asking,  # noqa
    read_study,
    read_trials,
    run_study,
)
from gan_bench.sweep.engines import TrialFunction
from gan_bench.sweep.engines.inline import InlineEngine


@pytest.fixture(autouse=True, scope="module")
def _compose_once() -> Iterator[None]:
    """Remember composed configs: 0.1 s each, and these tests compose the same few hundreds."""
    compose, known = configs.compose, dict[tuple[str, ...], configs.Config]()

    def remembered(overrides: Sequence[str] = ()) -> configs.Config:
        key = tuple(text for text in overrides if not text.startswith("run_dir="))
        if key not in known:
            known[key] = compose(key)
        return dataclasses.replace(known[key])

    configs.compose = remembered
    yield
    configs.compose = compose


@functools.lru_cache
def the_study() -> Study:
    return small_study()


def run(study_dir: Path, trial: TrialFunction = analytic_trial, **options: Any) -> Summary:
    study = options.pop("study", None) or the_study()
    return run_study(study, study_dir, engine=InlineEngine(), trial=trial, **options)


def outcome(study_dir: Path) -> list[tuple[Any, ...]]:
    """What a study came to, without times and job ids."""
    return [
        (t.trial_id, t.cell, t.settings, t.source, t.index, t.seed, t.status, t.objective)
        for t in read_trials(study_dir)
    ]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    study_dir = tmp_path_factory.mktemp("finished")
    run(study_dir)
    return study_dir


@pytest.fixture(scope="module")
def uninterrupted(finished: Path) -> list[tuple[Any, ...]]:
    return outcome(finished)


def test_a_study_runs_every_trial_once_in_the_order_of_its_plan(tmp_path: Path) -> None:
    events: list[StudyEvent] = []
    summary = run(tmp_path, on_event=events.append)
    trials = summary.trials
    assert len(trials) == summary.total == 8
    assert summary.statuses == {"completed": 8, "stopped": 0, "diverged": 0, "failed": 0}
    two = ["non_saturating", "wasserstein"]
    assert [trial.cell for trial in trials] == two * 4
    assert [trial.source for trial in trials] == ["fixed"] * 4 + ["bandit"] * 4
    assert [trial.seed for trial in trials] == [0, 0, 1, 1, 0, 0, 0, 0]
    assert [trial.index for trial in trials] == [0, 0, 0, 0, 0, 0, 1, 1]
    for trial in trials:
        folder = tmp_path / "trials" / trial.trial_id
        assert trial.objective == value_of(folder) == trial.metrics["fid_digits_cnn"]
        config = configs.load(folder / "config.yaml")
        assert config.loss["name"] == trial.cell and config.seed == trial.seed
        assert config.optimizer.lr == trial.settings["optimizer.lr"]
    for cell, best in summary.best.items():
        assert best.objective == min(t.objective for t in trials if t.cell == cell)

    kinds = [event.kind for event in events]
    assert kinds == ["started", *["submitted", "finished"] * 8, "ended"]
    finished = [event for event in events if event.kind == "finished"]
    assert [event.done for event in finished] == list(range(1, 9))
    assert finished[-1].best is not None and finished[-1].seconds_left == 0
    assert read_study(tmp_path) == the_study()

    again: list[StudyEvent] = []
    assert run(tmp_path, on_event=again.append).trials == trials
    assert [event.kind for event in again] == ["started", "ended"]


class Interrupting:
    """Interrupts the k-th trial: before or after its result is written, or by a signal."""

    def __init__(self, k: int, when: str) -> None:
        self.k, self.when = k, when
        self.completed: Counter[str] = Counter()

    def __call__(self, run_dir: Path) -> dict[str, Any]:
        self.k -= 1
        if self.k == 0 and self.when == "before":
            raise KeyboardInterrupt
        if self.k == 0 and self.when == "sigterm":
            signal.raise_signal(signal.SIGTERM)
        result = analytic_trial(run_dir)
        self.completed[run_dir.name] += 1
        if self.k == 0:
            raise KeyboardInterrupt
        return result


@pytest.mark.parametrize(
    ("k", "when"), [(1, "before"), (4, "after"), (5, "sigterm"), (6, "before"), (8, "after")]
)
def test_an_interrupted_study_goes_on_as_if_it_had_not_been(
    tmp_path: Path, uninterrupted: list[tuple[Any, ...]], k: int, when: str
) -> None:
    trial = Interrupting(k, when)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, trial)
    run(tmp_path, trial)
    assert outcome(tmp_path) == uninterrupted
    assert set(trial.completed.values()) == {1} and len(trial.completed) == 8


@pytest.mark.parametrize("keep", [1, 2, 5, 13, 20])
def test_a_journal_cut_anywhere_is_continued(
    tmp_path: Path, finished: Path, uninterrupted: list[tuple[Any, ...]], keep: int
) -> None:
    """A driver killed between any two lines, or within one."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    journal = tmp_path / "trials.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[:keep]) + lines[keep][:30])
    run(tmp_path)
    assert outcome(tmp_path) == uninterrupted


CHILD = """
import sys, time
from pathlib import Path
from analytic_trial import analytic_trial, small_study
from gan_bench.sweep import build_engine, run_study

def slow(run_dir):
    time.sleep(0.3)
    return analytic_trial(run_dir)

folder = Path(sys.argv[1])
run_study(small_study(), folder, engine=build_engine("inline", folder), trial=slow)
"""


@pytest.mark.slow
def test_a_killed_driver_is_followed_by_another(
    tmp_path: Path, uninterrupted: list[tuple[Any, ...]]
) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    paths = [str(Path(__file__).parent), environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], env=environment)
    journal = tmp_path / "trials.jsonl"
    deadline = time.monotonic() + 60
    while len(files.read_jsonl(journal)) < 12:  # three have finished, the fourth is running
        assert child.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    with pytest.raises(BusyError, match="in use by another"):
        run(tmp_path)
    child.kill()
    child.wait()
    assert len(read_trials(tmp_path)) < 8
    run(tmp_path)
    assert outcome(tmp_path) == uninterrupted


def test_a_second_driver_is_refused_in_one_line(tmp_path: Path) -> None:
    with (
        files.locked(tmp_path / ".lock", "it"),
        pytest.raises(BusyError, match="in use by another process") as caught,
    ):
        run(tmp_path)
    assert "\n" not in str(caught.value)
    run(tmp_path)


def test_a_changed_study_is_refused_and_a_longer_search_goes_on(tmp_path: Path) -> None:
    run(tmp_path)
    changed = small_study(base=[*CONTENT["base"], "training.steps=7"])
    with pytest.raises(StudyError, match=r"base.training.steps.*use another study_dir"):
        run(tmp_path, study=changed)
    before = outcome(tmp_path)
    settings = CONTENT["settings"]
    bandit = {**settings["bandit"], "trials": 3}
    run(tmp_path, study=small_study(settings={**settings, "bandit": bandit}))
    assert outcome(tmp_path)[:8] == before and len(outcome(tmp_path)) == 10


def failing(trial_dir: Path, how: str) -> dict[str, Any]:
    config = configs.load(trial_dir / "config.yaml")
    if config.loss["name"] == "non_saturating":
        return analytic_trial(trial_dir)
    if how == "raises":
        raise RuntimeError("out of memory")
    if how == "silent":
        return {}
    if how == "torn":
        (trial_dir / "result.json").write_text('{"schema": 1, "sta')
        return {}
    if how == "null":
        return write_result(trial_dir, fid_digits_cnn=float("nan"))
    return write_result(trial_dir, how, fid_digits_cnn=1.0)


@pytest.mark.parametrize(
    ("how", "status", "error"),
    [
        ("diverged", "diverged", "not finite"),
        ("failed", "failed", "not finite"),
        ("raises", "failed", "RuntimeError: out of memory"),
        ("silent", "failed", "without a result"),
        ("torn", "failed", "unreadable"),
        ("null", "completed", None),
    ],
)
def test_bad_trials_are_recorded_and_never_stop_the_study(
    tmp_path: Path, how: str, status: str, error: str | None
) -> None:
    summary = run(tmp_path, functools.partial(failing, how=how))
    assert len(summary.trials) == 8
    bad = [trial for trial in summary.trials if trial.cell == "wasserstein"]
    assert {trial.status for trial in bad} == {status}
    assert all(trial.objective is None for trial in bad)
    assert all(error in (t.error or "") if error else t.error is None for t in bad)
    assert list(summary.best) == ["non_saturating"]
    assert len({trial.trial_id for trial in summary.trials}) == 8


def test_failed_trials_are_run_again_only_if_asked(tmp_path: Path) -> None:
    failed = functools.partial(failing, how="failed")
    first = run(tmp_path, failed)
    assert first.statuses["failed"] == 4
    assert run(tmp_path).statuses["failed"] == 4
    again = run(tmp_path, retry_failed=True)
    assert again.statuses == {"completed": 8, "stopped": 0, "diverged": 0, "failed": 0}
    assert [t.trial_id for t in again.trials] == [t.trial_id for t in first.trials]
    run(diverged := tmp_path / "diverged", functools.partial(failing, how="diverged"))
    assert run(diverged, retry_failed=True).statuses["diverged"] == 4


def test_settings_that_are_refused_are_failed_trials(tmp_path: Path) -> None:
    rows = [{"optimizer.beta1": 0.5}, {"optimizer.beta1": 1.5}]
    study = small_study(settings={"fixed": rows}, seeds=[0])
    summary = run(tmp_path, study=study)
    assert summary.statuses == {"completed": 2, "stopped": 0, "diverged": 0, "failed": 2}
    assert all("beta1 is 1.5" in (t.error or "") for t in summary.trials if t.status == "failed")
    assert run(tmp_path, study=study).trials == summary.trials


def test_a_metric_that_is_not_measured_stops_at_the_first_trial(tmp_path: Path) -> None:
    study = small_study(objective={"metric": "fid_digit_cnn"})
    with pytest.raises(
        ConfigError, match="unknown objective.metric 'fid_digit_cnn'; did you mean 'fid_digits_cnn'"
    ):
        run(tmp_path, study=study)
    assert len(read_trials(tmp_path)) == 1


def test_a_full_disk_stops_the_study_which_then_goes_on(
    tmp_path: Path, uninterrupted: list[tuple[Any, ...]]
) -> None:
    def full(run_dir: Path) -> dict[str, Any]:
        raise StorageError("the disk is full")

    with pytest.raises(StorageError):
        run(tmp_path, full)
    run(tmp_path)
    assert outcome(tmp_path) == uninterrupted


def record_of_told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float | None, int]]:
    """Record what searches are told: (value, number of pending settings)."""
    told: list[tuple[float | None, int]] = []
    suggest = asking.suggest

    def watched(*arguments: Any) -> Any:
        *_, history, pending = arguments
        told.extend((value, len(pending)) for _, value in history)
        return suggest(*arguments)

    monkeypatch.setattr(asking, "suggest", watched)
    return told


@pytest.mark.parametrize(
    ("mode", "values", "expected"),
    [
        ("min", [5.0, 1.0, 2.0], 2.0),
        ("max", [5.0, 1.0, 2.0], -2.0),
        ("min", [5.0, None, 2.0], 5.0),
        ("min", [5.0, None, None], None),
    ],
)
def test_a_search_is_told_the_median_over_seeds(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
    values: list[float | None],
    expected: float | None,
) -> None:
    told = record_of_told(monkeypatch)

    def trial(run_dir: Path) -> dict[str, Any]:
        value = values[configs.load(run_dir / "config.yaml").seed]
        return write_result(run_dir, "completed" if value else "failed", fid=value)

    settings = {**CONTENT["settings"], "bandit": {"trials": 1, "seeds": [0]}}
    study = small_study(
        cells=None, settings=settings, seeds=[0, 1, 2], objective={"metric": "fid", "mode": mode}
    )
    run(tmp_path, trial, study=study)
    assert told == [(expected, 0)]


def test_trials_are_records_of_plain_values(tmp_path: Path) -> None:
    run(tmp_path)
    driver, record, *_ = files.read_jsonl(tmp_path / "trials.jsonl")
    assert (driver["event"], driver["engine"], driver["pid"]) == ("driver", "inline", os.getpid())
    keys = "event, trial_id, cell, axes, settings, source, index, seed, overrides, time"
    assert ", ".join(record) == keys
    assert record["overrides"][0] == "loss=non_saturating"
    assert isinstance(read_trials(tmp_path)[0], Trial)
