"""The journal: replay, torn lines, reopened trials."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from gan_bench import files
from gan_bench.sweep.store import JOURNAL, Trial, TrialStore, read_trials


def a_trial(seed: int = 0) -> Trial:
    overrides = ["loss=hinge", f"seed={seed}"]
    return Trial(f"id{seed}", "hinge", {"loss": "hinge"}, {"x": 1}, "fixed", 0, seed, overrides)


def test_a_replay_restores_every_record(tmp_path: Path) -> None:
    store = TrialStore(tmp_path)
    first, second = a_trial(0), a_trial(1)
    store.propose([first])
    store.submit("local", [(first.trial_id, "job 1")])
    store.finish(first.trial_id, "completed", objective=3.5, metrics={"fid": 3.5})
    store.propose([second])
    replayed = TrialStore(tmp_path).trials
    assert replayed == store.trials
    assert list(replayed) == [first.trial_id, second.trial_id]
    assert replayed[first.trial_id].objective == 3.5
    assert not replayed[second.trial_id].finished
    assert read_trials(tmp_path) == list(replayed.values())


def test_a_torn_last_line_is_passed_over_and_closed(tmp_path: Path) -> None:
    store = TrialStore(tmp_path)
    trial = a_trial()
    store.propose([trial])
    store.finish(trial.trial_id, "completed", objective=1.0)
    path = tmp_path / JOURNAL
    text = path.read_text()
    path.write_text(text[: len(text) - 20])
    again = TrialStore(tmp_path)
    assert not again.trials[trial.trial_id].finished
    again.finish(trial.trial_id, "failed", error="x")
    assert TrialStore(tmp_path).trials[trial.trial_id].status == "failed"


def test_values_that_are_not_finite_are_null(tmp_path: Path) -> None:
    store = TrialStore(tmp_path)
    trial = a_trial()
    store.propose([trial])
    store.finish(trial.trial_id, "diverged", objective=float("nan"), metrics={"fid": float("inf")})
    for read in (store, TrialStore(tmp_path)):
        assert read.trials[trial.trial_id].objective is None
        assert read.trials[trial.trial_id].metrics == {"fid": None}


def test_submitting_again_opens_a_trial_and_the_last_finish_counts(tmp_path: Path) -> None:
    store = TrialStore(tmp_path)
    trial = a_trial()
    store.propose([trial])
    store.finish(trial.trial_id, "failed", error="x")
    store.submit("local", [(trial.trial_id, "job 2")])
    assert not TrialStore(tmp_path).trials[trial.trial_id].finished
    store.finish(trial.trial_id, "completed", objective=2.0)
    assert TrialStore(tmp_path).trials[trial.trial_id].objective == 2.0
    store.propose([trial])
    assert len(TrialStore(tmp_path).trials) == 1


def test_states_are_counted_as_they_change_and_after_a_replay(tmp_path: Path) -> None:
    store = TrialStore(tmp_path)
    store.propose([a_trial(0), a_trial(1), a_trial(2)])
    store.submit("slurm", [("id0", "1_0"), ("id1", "1_1")])
    store.interrupt("id0", "preempted", "told to stop")
    store.submit("slurm", [("id0", "2")])
    store.interrupt("id0", "preempted", "told to stop")
    store.finish("id1", "diverged", error="x", gpu_hours=1.5)
    for read in (store, TrialStore(tmp_path)):
        assert {s: n for s, n in read.states.items() if n} == {
            "preempted": 1, "diverged": 1, "proposed": 1
        }  # fmt: skip
        assert read.done == 1 and read.gpu_hours == 1.5
        trial = read.trials["id0"]
        assert trial.interruptions == {"preempted": 2} and not trial.finished
        assert (trial.engine, trial.job_id, trial.state) == ("slurm", "2", "preempted")


def test_trials_of_a_setting_are_together_in_the_order_of_the_plan(tmp_path: Path) -> None:
    store = TrialStore(tmp_path)
    searched = [dataclasses.replace(a_trial(n), source="bandit", index=n) for n in (3, 2)]
    store.propose([*searched, a_trial(0), a_trial(1)])
    found = [[trial.trial_id for trial in group] for group in store.settings_of("hinge")]
    assert found == [["id0", "id1"], ["id2"], ["id3"]]
    assert [trial.trial_id for trial in store.group("hinge", "bandit", 3)] == ["id3"]
    assert store.group("hinge", "bandit", 0) == store.settings_of("wasserstein") == []


def test_wall_time_counts_drivers_at_work_not_the_time_between_them(tmp_path: Path) -> None:
    lines = [
        {"event": "driver", "time": "2026-01-01T00:00:00+00:00"},
        {"event": "proposed", "time": "2026-01-01T00:30:00+00:00", **record_of(a_trial())},
        {"event": "driver", "time": "2026-01-05T00:00:00+00:00"},
        {
            "event": "submitted",
            "trial_id": "id0",
            "job_id": "1",
            "time": "2026-01-05T01:00:00+00:00",
        },
    ]
    files.append_jsonl(tmp_path / JOURNAL, *lines)
    assert TrialStore(tmp_path).wall_hours == pytest.approx(1.5)


def record_of(trial: Trial) -> dict[str, Any]:
    names = ["trial_id", "cell", "axes", "settings", "source", "index", "seed", "overrides"]
    return {name: getattr(trial, name) for name in names}
