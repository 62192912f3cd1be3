"""The driver on engines whose trials run beside it: steady, patient, and within its limits."""

from __future__ import annotations

import concurrent.futures
import random
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from analytic_trial import CONTENT, analytic_trial, small_study, write_result
from thread_engine import ThreadEngine

from gan_bench import files
from gan_bench.errors import ConfigError, StudyError
from gan_bench.sweep import StudyEvent, asking, build_engine, driver, read_trials, run_study
from gan_bench.sweep.engines.inline import InlineEngine

LOCK = threading.Lock()


@pytest.fixture(autouse=True)
def _ask_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads are no processes: no fork server is needed to test what the driver does."""
    monkeypatch.setattr(driver, "ProcessAsker", asking.DirectAsker)


def locked_trial(run_dir: Path) -> dict[str, Any]:
    with LOCK:  # OmegaConf's parser is not for several threads at once
        return analytic_trial(run_dir)


def searched(trials: int, **bandit: Any) -> dict[str, Any]:
    chosen = {"trials": trials, "random_starts": 2, "seeds": [0], "suggester": "random", **bandit}
    return {**CONTENT["settings"], "bandit": chosen}


def test_every_slot_is_kept_busy_and_every_trial_of_the_plan_is_run(tmp_path: Path) -> None:
    order, rng = [], random.Random(0)

    def trial(run_dir: Path) -> dict[str, Any]:
        time.sleep(rng.uniform(0.01, 0.3))
        result = locked_trial(run_dir)
        order.append(run_dir.name)
        return result

    study = small_study(settings=searched(4, seeds=[0, 1], suggester="gaussian_process"))
    engine = ThreadEngine()
    summary = run_study(study, tmp_path, engine=engine, trial=trial)
    assert summary.total == len(summary.trials) == len(order) == 4 + 16
    assert order != [trial.trial_id for trial in summary.trials]  # out of order indeed
    assert engine.busy[0] == 3
    full = [busy for busy in engine.busy if busy == 3]
    assert engine.busy[: len(full)] == full, "a free slot was left empty"
    for cell in study.cells:
        settings = [t.settings for t in summary.trials if t.cell == cell.name and t.seed == 0]
        assert len({files.digest(each) for each in settings}) == 5


class LateAsker(asking.DirectAsker):
    """Answers one question a poll, as a process that takes its time."""

    def __init__(self) -> None:
        self._late: list[tuple[Any, tuple[Any, ...]]] = []

    def ask(self, *question: Any) -> Any:
        answer = concurrent.futures.Future()
        self._late.append((answer, question))
        return answer

    def poll(self) -> None:
        if self._late:
            answer, question = self._late.pop(0)
            answer.set_result(super().ask(*question).result())


def test_a_worker_gets_as_many_searched_trials_as_it_trains_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "ProcessAsker", LateAsker)
    groups: list[int] = []

    class Grouping(ThreadEngine):
        together = 4

        def submit(self, trial: Any, trial_dirs: Any) -> list[str]:
            groups.append(len(trial_dirs))
            return super().submit(trial, trial_dirs)

    settings = {"space": CONTENT["settings"]["space"], "random": {"trials": 10}}
    study = small_study(cells=None, settings=settings, seeds=[0], name="grouped")
    summary = run_study(study, tmp_path, engine=Grouping(4), trial=locked_trial)
    assert summary.total == len(summary.trials) == sum(groups) == 10
    assert groups[0] == 4, "the first free slots wait until they can be filled together"


def test_a_batch_waits_for_the_one_before_it(tmp_path: Path) -> None:
    study = small_study(
        cells=None, settings=searched(6, mode="batch", batch=3), seeds=[0], name="batches"
    )
    finished: list[int] = []
    begun: list[list[int]] = []

    def on_event(event: StudyEvent) -> None:
        assert event.trial is None or event.trial.source in ("fixed", "bandit")
        if event.trial is None or event.trial.source == "fixed":
            return
        if event.kind == "finished":
            finished.append(event.trial.index)
        if event.kind == "submitted" and event.trial.index >= 3:
            begun.append(sorted(finished)[:3])

    run_study(study, tmp_path, engine=ThreadEngine(4), trial=locked_trial, on_event=on_event)
    assert begun == [[0, 1, 2]] * 3


@pytest.mark.parametrize(
    ("cause", "times", "status"),
    [
        ("lost", 3, "completed"),
        ("lost", 4, "failed"),
        ("preempted", 6, "completed"),
        ("timeout", 6, "completed"),
        ("out_of_memory", 1, "failed"),
        ("error", 1, "failed"),
    ],
)
def test_retries_are_capped_for_each_cause(
    tmp_path: Path, cause: str, times: int, status: str
) -> None:
    study = small_study()
    victim = study.trial(study.cells[0], study.cells[0].fixed[0], "fixed", 0, 0).trial_id
    engine = ThreadEngine(causes={victim: [cause] * times})
    events: Counter[str] = Counter()

    def on_event(event: StudyEvent) -> None:
        if event.trial is not None and event.trial.trial_id == victim:
            events[event.kind] += 1

    summary = run_study(study, tmp_path, engine=engine, trial=locked_trial, on_event=on_event)
    found = {trial.trial_id: trial for trial in summary.trials}[victim]
    assert found.status == status and summary.statuses["completed"] == 8 - (status == "failed")
    interrupted = times if status == "completed" else times - 1
    assert events["interrupted"] == interrupted == sum(found.interruptions.values())
    assert engine.submitted.count(victim) == times + (status == "completed")
    if status == "failed":
        assert f"it was {cause} (log: " in str(found.error)
        assert (times > 1) == str(found.error).startswith(f"{cause} {times} times; the last")


def test_retries_can_be_chosen(tmp_path: Path) -> None:
    study = small_study(retries={"lost": 0})
    victim = study.trial(study.cells[0], study.cells[0].fixed[0], "fixed", 0, 0).trial_id
    engine = ThreadEngine(causes={victim: ["lost"]})
    summary = run_study(study, tmp_path, engine=engine, trial=locked_trial)
    assert summary.statuses["failed"] == 1
    with pytest.raises(ConfigError, match="unknown field of retries 'lots'; did you mean 'lost'"):
        small_study(retries={"lots": 0})


@pytest.mark.parametrize("limit", [1, 5, 7])
def test_a_budget_of_trials_is_kept_and_can_be_raised(tmp_path: Path, limit: int) -> None:
    study = small_study(budget={"trials": limit})
    summary = run_study(study, tmp_path, engine=ThreadEngine(), trial=locked_trial)
    assert summary.statuses["completed"] == len(summary.trials) == limit
    assert summary.limited == f"budget.trials={limit} is used up"
    again = run_study(small_study(), tmp_path, engine=ThreadEngine(), trial=locked_trial)
    assert again.statuses["completed"] == 8 and again.limited is None


def test_a_budget_of_hours_lets_running_trials_end(tmp_path: Path) -> None:
    def trial(run_dir: Path) -> dict[str, Any]:
        result = locked_trial(run_dir)
        result["seconds"] = {"train": 3000.0, "evaluate": 600.0}
        files.write_json(run_dir / "result.json", result)
        return result

    study = small_study(budget={"gpu_hours": 2.5})
    summary = run_study(study, tmp_path, engine=ThreadEngine(1), trial=trial)
    assert summary.statuses["completed"] == 3  # 1 hour each: the third began at 2 hours
    assert summary.limited == "budget.gpu_hours=2.5 is used up"
    assert [trial.gpu_hours for trial in summary.trials if trial.finished] == [1.0] * 3


def test_a_search_that_has_reached_its_target_or_gains_nothing_ends(tmp_path: Path) -> None:
    def trial(run_dir: Path) -> dict[str, Any]:
        return write_result(run_dir, fid=9.0)

    study = small_study(cells=None, settings=searched(20), stop={"patience": 4})
    summary = run_study(study, tmp_path / "a", engine=InlineEngine(), trial=trial)
    assert len(summary.trials) == 2 + 4  # the fixed setting with two seeds is the first, and best
    study = small_study(cells=None, settings=searched(20), stop={"target": 9.5})
    summary = run_study(study, tmp_path / "b", engine=InlineEngine(), trial=trial)
    assert len(summary.trials) == 2


def test_cancelling_stops_what_runs_and_the_next_driver_goes_on(tmp_path: Path) -> None:
    class Cancelled(ThreadEngine):
        def cancel(self, trial_dirs: Any) -> None:
            super().cancel(trial_dirs)
            for trial_dir in trial_dirs:
                self.causes[trial_dir.name] = ["preempted"]

    def on_event(event: StudyEvent) -> None:
        if event.kind == "finished" and event.done == 3:
            files.write_json(tmp_path / driver.CANCEL, {})

    def slow(run_dir: Path) -> dict[str, Any]:
        time.sleep(0.1)
        return locked_trial(run_dir)

    engine = Cancelled(2)
    first = run_study(small_study(), tmp_path, engine=engine, trial=slow, on_event=on_event)
    assert first.limited == "it was cancelled" and engine.cancelled
    assert first.statuses["completed"] < 8
    states = {trial.state for trial in read_trials(tmp_path) if not trial.finished}
    assert states <= {"proposed", "preempted"} and "preempted" in states
    again = run_study(small_study(), tmp_path, engine=ThreadEngine(), trial=locked_trial)
    assert again.statuses["completed"] == 8 and again.limited is None


def test_a_job_that_outlived_its_driver_is_waited_for_not_submitted(tmp_path: Path) -> None:
    class Cluster(ThreadEngine):
        """Jobs outlive the driver; even one that it could not journal is found again."""

        name = "inline"  # as in the journal of the first driver
        attached: list[str | None] = []

        def attach(self, trial_dir: Path, job_id: str | None) -> str | None:
            self.attached.append(job_id)
            self._jobs[self._pool.submit(analytic_trial, trial_dir)] = trial_dir
            return "job 1"

    def interrupted(run_dir: Path) -> dict[str, Any]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(small_study(), tmp_path, engine=InlineEngine(), trial=interrupted)
    journal = tmp_path / "trials.jsonl"
    for lost in (False, True):  # killed after the journal's line, and before it
        lines = journal.read_text().splitlines(keepends=True)
        journal.write_text("".join(lines[: 2 if lost else 3]))
        for result in tmp_path.glob("trials/*/result.json"):
            result.unlink()
        engine = Cluster(slots=1)
        engine.attached.clear()
        summary = run_study(small_study(), tmp_path, engine=engine, trial=analytic_trial)
        assert engine.attached == [None if lost else "inline"]
        assert summary.trials[0].trial_id not in engine.submitted
        assert summary.statuses["completed"] == 8


def test_a_trial_that_still_runs_on_another_engine_stops_the_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Elsewhere(ThreadEngine):
        def attach(self, trial_dir: Path, job_id: str | None) -> str | None:
            return job_id

    def interrupted(run_dir: Path) -> dict[str, Any]:
        raise KeyboardInterrupt

    class Other(InlineEngine):
        name = "slurm"

    monkeypatch.setattr(driver, "build_engine", lambda name, *_: Elsewhere())
    with pytest.raises(KeyboardInterrupt):
        run_study(small_study(), tmp_path, engine=Other(), trial=interrupted)
    with pytest.raises(StudyError, match=r"still runs on engine slurm \(job slurm\).*gan-bench ca"):
        run_study(small_study(), tmp_path, engine=InlineEngine(), trial=analytic_trial)


def test_engines_by_name(tmp_path: Path) -> None:
    assert isinstance(build_engine("inline", tmp_path), InlineEngine)
    with pytest.raises(ConfigError, match="did you mean 'inline'"):
        build_engine("inlin", tmp_path)
    with pytest.raises(ConfigError, match="unknown field of engine 'slot'; did you mean 'slots'"):
        build_engine("local", tmp_path, {"slot": 3})
    with pytest.raises(ConfigError, match=r"engine.slots: Value 'many'.*Integer"):
        build_engine("local", tmp_path, {"slots": "many"})
    with pytest.raises(ConfigError, match="engine.slots is 0; it must be at least 1"):
        build_engine("local", tmp_path, {"slots": 0})
    with pytest.raises(ConfigError, match="names GPU 9, which is not there"):
        build_engine("local", tmp_path, {"gpus": ["9"]})
