"""Asynchronous successive halving: who goes on, on invented trials and on real trainings."""

from __future__ import annotations

from pathlib import Path

import pytest
from analytic_trial import small_study

from gan_bench import files
from gan_bench.errors import ConfigError
from gan_bench.run import request_stop, run_trial
from gan_bench.sweep import Objective, Trial, TrialStore, build_engine, build_study, run_study
from gan_bench.sweep.halving import EarlyStopping, Halving


def a_store(tmp_path: Path, count: int, cell: str = "hinge") -> TrialStore:
    store = TrialStore(tmp_path)
    store.propose(
        [Trial(f"{cell}{n}", cell, {}, {"x": n}, "bandit", n, 0, []) for n in range(count)]
    )
    return store


def evaluate(store: TrialStore, trial_id: str, step: int, value: float | None) -> None:
    line = {"step": step, "source": "train", "fid_digits_cnn": value}
    files.append_jsonl(store.folder(trial_id) / "evaluations.jsonl", line)


def test_a_trial_goes_on_if_it_is_among_the_best_third_so_far(tmp_path: Path) -> None:
    store = a_store(tmp_path, 7)
    halving = Halving(EarlyStopping(eta=3, min_steps=100), Objective(), store)
    verdicts = []
    for n, value in enumerate([50.0, 40.0, 60.0, 45.0, 30.0, None, 41.0]):
        trial = store.trials[f"hinge{n}"]
        assert halving.poor(trial) is None
        evaluate(store, trial.trial_id, 100, value)
        verdicts.append(halving.poor(trial) is not None)
        assert halving.poor(trial) is None  # nothing new
    # 1 of 1 goes on, then 1 of 2 and of 3, 2 of 4 to 6, 3 of 7
    assert verdicts == [False, False, True, False, False, True, False]


def test_later_rungs_and_the_best_value_so_far(tmp_path: Path) -> None:
    store = a_store(tmp_path, 2)
    halving = Halving(EarlyStopping(eta=3, min_steps=100), Objective(at="best"), store)
    first, second = store.trials.values()
    evaluate(store, first.trial_id, 100, 20.0)
    evaluate(store, first.trial_id, 300, 30.0)  # worse: its best is still 20
    assert halving.poor(first) is None
    evaluate(store, second.trial_id, 100, 15.0)
    assert halving.poor(second) is None
    evaluate(store, second.trial_id, 299, 99.0)  # below the second rung
    assert halving.poor(second) is None
    final = Halving(EarlyStopping(eta=3, min_steps=100), Objective(at="final"), store)
    evaluate(store, second.trial_id, 300, 31.0)
    assert halving.poor(second) is None  # its best, 15, is below the first's 20
    assert final.poor(second) is not None  # 31 is worse than the first's 30


def test_cells_are_not_compared_and_a_new_driver_knows_the_same(tmp_path: Path) -> None:
    store = a_store(tmp_path, 2)
    store.propose([Trial("other", "wasserstein", {}, {}, "bandit", 0, 0, [])])
    rule = EarlyStopping(min_steps=10)
    evaluate(store, "hinge0", 10, 1.0)
    halving = Halving(rule, Objective(), store)
    evaluate(store, "other", 10, 9.0)
    evaluate(store, "hinge1", 10, 2.0)
    assert halving.poor(store.trials["other"]) is None
    assert "place 2 of 2" in str(halving.poor(store.trials["hinge1"]))


def test_the_objective_may_be_maximized(tmp_path: Path) -> None:
    store = a_store(tmp_path, 2)
    halving = Halving(EarlyStopping(min_steps=10), Objective("fid", mode="max"), store)
    evaluate(store, "hinge0", 10, 1.0)
    evaluate(store, "hinge1", 10, 2.0)
    assert halving.poor(store.trials["hinge0"]) is None
    assert halving.poor(store.trials["hinge1"]) is None


def test_rules_out_of_range() -> None:
    with pytest.raises(ConfigError, match="early_stopping.eta is 1.0; it must be above 1"):
        small_study(early_stopping={"eta": 1})
    with pytest.raises(ConfigError, match="min_steps is 0"):
        small_study(early_stopping={"min_steps": 0})


BASE = ["dataset=digits", "architecture=mlp", "evaluator=classifier", "evaluator.n_fake=100"]
BASE += ["device=cpu", "threads=1", "training.batch_size=16", "training.evaluate_every=20"]


@pytest.mark.slow
def test_poor_trainings_stop_early_with_what_they_have_measured(tmp_path: Path) -> None:
    content = {
        "name": "halving",
        "base": [*BASE, "training.steps=100", "training.log_every=20"],
        "settings": {"fixed": [{"optimizer.lr": [1e-3, 1e-9, 1e-10]}]},
        "early_stopping": {"min_steps": 20, "eta": 3},
    }
    engine = build_engine("local", tmp_path, {"slots": 1, "threads": 1})
    summary = run_study(build_study(content), tmp_path, engine=engine, trial=run_trial)
    good, poor, worse = summary.trials
    assert good.status == "completed" and good.objective is not None
    assert summary.statuses["completed"] + summary.statuses["stopped"] == 3
    # the driver looks once a second, and these trials are short: some end before it asks
    for trial in (poor, worse):
        assert trial.objective is not None and trial.objective > good.objective


def test_a_run_ends_when_it_is_asked_to(tmp_path: Path) -> None:
    from gan_bench import config as configs

    config = configs.compose([*BASE, "training.steps=100", f"run_dir={tmp_path}"])
    configs.save(config, tmp_path / "config.yaml")
    request_stop(tmp_path, "place 3 of 3")
    result = run_trial(tmp_path)
    assert (result["status"], result["error"]) == ("stopped", "place 3 of 3")
    assert result["counts"]["g_steps"] == 0 and run_trial(tmp_path) == result
