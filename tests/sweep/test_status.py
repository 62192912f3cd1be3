"""How a study stands: before, while and after it runs, and where nothing can be written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from analytic_trial import analytic_trial, small_study, write_result
from thread_engine import ThreadEngine

from gan_bench import files
from gan_bench.errors import StudyError
from gan_bench.sweep import StudyEvent, StudyStatus, asking, driver, run_study, study_status
from gan_bench.sweep.engines.inline import InlineEngine
from gan_bench.sweep.job import run_job
from gan_bench.terminal import status_table


def test_a_study_that_has_ended(tmp_path: Path) -> None:
    def trial(run_dir: Path) -> dict[str, Any]:
        if run_dir.name.startswith(("0", "1", "2", "3", "4", "5", "6", "7")):
            return write_result(run_dir, "diverged", fid=1.0)
        return analytic_trial(run_dir)

    summary = run_study(small_study(), tmp_path, engine=InlineEngine(), trial=trial)
    found = study_status(tmp_path)
    assert (found.done, found.running, found.alive) == (8, [], False)
    assert found.states["diverged"] == summary.statuses["diverged"] > 0
    assert found.states["completed"] == summary.statuses["completed"] > 0
    assert [cell.total for cell in found.cells] == [4, 4]
    for cell in found.cells:
        best = summary.best.get(cell.name)
        assert cell.best == (best.objective if best else None)
    assert found.driver["engine"] == "inline"


def test_a_study_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trial's own files say how far it is; the driver's journal can't."""
    monkeypatch.setattr(driver, "ProcessAsker", asking.DirectAsker)
    seen: list[StudyStatus] = []

    def trial(run_dir: Path) -> dict[str, Any]:
        for step in (10, 20):
            files.append_jsonl(run_dir / "train.jsonl", {"step": step})
        for value in (30.0, 12.5, 20.0):
            line = {"step": 20, "source": "train", "fid_digits_cnn": value}
            files.append_jsonl(run_dir / "evaluations.jsonl", line)
        if not seen:
            seen.append(study_status(tmp_path))
        return analytic_trial(run_dir)

    run_study(small_study(), tmp_path, engine=InlineEngine(), trial=trial)
    (found,) = seen
    assert found.alive and found.done == 0 and found.trials_per_hour is None
    assert found.states == {"running": 1}
    (running,) = found.running
    assert (running.step, running.total, running.value) == (20, 1000, 12.5)
    assert 0 <= running.silent_seconds < 60 and running.host
    table = status_table(found)
    assert f"running {running.trial.trial_id} {running.trial.cell}" in table
    assert "step 20/1000, fid 12.5" in table and "driver: at work, engine inline" in table


@pytest.mark.parametrize("state", ["submitted", "running", "preempted", "completed", "failed"])
def test_what_a_job_has_written_since_the_journal(tmp_path: Path, state: str) -> None:
    class Dying(ThreadEngine):
        name = "local"

        def submit(self, trial: Any, trial_dirs: Any) -> list[str]:
            return ["job 1"] * len(trial_dirs)

        def wait(self, seconds: float) -> Any:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(small_study(), tmp_path, engine=Dying(1), trial=analytic_trial)
    (folder,) = (tmp_path / "trials").iterdir()

    def trial(run_dir: Path) -> dict[str, Any]:
        if state == "preempted":
            raise KeyboardInterrupt
        if state == "running":
            assert study_status(tmp_path).states["running"] == 1
        return write_result(run_dir, state)

    if state == "preempted":
        with pytest.raises(KeyboardInterrupt):
            run_job(trial, folder, "job 1")
    elif state != "submitted":
        run_job(trial, folder, "job 1")
    expected = "completed" if state == "running" else state
    found = study_status(tmp_path)
    if state == "running":  # the trial ended with a status that there is not
        expected = "failed"
    assert found.states[expected] == 1 and not found.alive
    assert "none at work; go on with gan-bench sweep" in status_table(found)


def test_failures_are_listed_with_their_reasons(tmp_path: Path) -> None:
    def trial(run_dir: Path) -> dict[str, Any]:
        raise RuntimeError("shapes differ")

    events: list[StudyEvent] = []
    run_study(small_study(), tmp_path, engine=InlineEngine(), trial=trial, on_event=events.append)
    found = study_status(tmp_path)
    assert len(found.failed) == 8
    assert "RuntimeError: shapes differ" in status_table(found)


def test_reading_needs_no_writing(tmp_path: Path) -> None:
    run_study(small_study(), tmp_path, engine=InlineEngine(), trial=analytic_trial)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    study_status(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_folder_that_holds_no_study(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"study.yaml is missing"):
        study_status(tmp_path)
