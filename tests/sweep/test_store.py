"""The journal: replay, torn lines, reopened trials."""

from __future__ import annotations

from pathlib import Path

from gan_bench.sweep.store import JOURNAL, Trial, TrialStore, read_trials


def a_trial(seed: int = 0) -> Trial:
    overrides = ["loss=hinge", f"seed={seed}"]
    return Trial(f"id{seed}", "hinge", {"loss": "hinge"}, {"x": 1}, "fixed", 0, seed, overrides)


def test_a_replay_restores_every_record(tmp_path: Path) -> None:
    store = TrialStore(tmp_path)
    first, second = a_trial(0), a_trial(1)
    store.propose(first)
    store.submit(first.trial_id, "job 1")
    store.finish(first.trial_id, "completed", objective=3.5, metrics={"fid": 3.5})
    store.propose(second)
    replayed = TrialStore(tmp_path).trials
    assert replayed == store.trials
    assert list(replayed) == [first.trial_id, second.trial_id]
    assert replayed[first.trial_id].objective == 3.5
    assert not replayed[second.trial_id].finished
    assert read_trials(tmp_path) == list(replayed.values())


def test_a_torn_last_line_is_passed_over_and_closed(tmp_path: Path) -> None:
    store = TrialStore(tmp_path)
    trial = a_trial()
    store.propose(trial)
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
    store.propose(trial)
    store.finish(trial.trial_id, "diverged", objective=float("nan"), metrics={"fid": float("inf")})
    for read in (store, TrialStore(tmp_path)):
        assert read.trials[trial.trial_id].objective is None
        assert read.trials[trial.trial_id].metrics == {"fid": None}


def test_submitting_again_opens_a_trial_and_the_last_finish_counts(tmp_path: Path) -> None:
    store = TrialStore(tmp_path)
    trial = a_trial()
    store.propose(trial)
    store.finish(trial.trial_id, "failed", error="x")
    store.submit(trial.trial_id, "job 2")
    assert not TrialStore(tmp_path).trials[trial.trial_id].finished
    store.finish(trial.trial_id, "completed", objective=2.0)
    assert TrialStore(tmp_path).trials[trial.trial_id].objective == 2.0
    store.propose(trial)
    assert len(TrialStore(tmp_path).trials) == 1
