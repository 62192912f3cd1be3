"""Estimates: trials counted, steps timed by a probe."""

from __future__ import annotations

import pytest
from analytic_trial import CONTENT

from gan_bench import config as configs
from gan_bench.errors import DataError
from gan_bench.sweep import arithmetic, build_study, cost
from gan_bench.terminal import cost_table

BASE = ["dataset=digits", "architecture=mlp", "device=cpu", "threads=1", "training.batch_size=16"]
BASE += ["evaluator=classifier", "evaluator.n_fake=256", "training.steps=3600"]


def test_trials_are_counted_and_steps_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "_SECONDS", 0.1)
    study = build_study({**CONTENT, "base": [*BASE, "training.evaluate_every=1000"]})
    costs = cost.estimate(study)
    assert [(each.cell, each.fixed, each.searched) for each in costs] == [
        ("non_saturating", 2, 2),
        ("wasserstein", 2, 2),
    ]
    for each in costs:
        step, evaluation = each.seconds_per_step, each.seconds_per_evaluation
        assert step is not None and evaluation is not None and 0 < step < 1 and 0 < evaluation < 60
        # 3600 steps, evaluated at 1000, 2000, 3000 and 3600
        assert each.hours_per_trial == pytest.approx(step + 4 * evaluation / 3600)
        assert each.hours == pytest.approx(4 * (each.hours_per_trial or 0))
    table = cost_table(study, costs, "local", 4)
    assert "2 cells, 8 trials; objective fid" in table and "on engine local with 4 slots" in table


def test_without_a_probe_nothing_is_timed() -> None:
    study = build_study({**CONTENT, "base": BASE})
    costs = cost.estimate(study, probe=False)
    assert all(each.hours is None and each.trials == 4 for each in costs)
    assert "hours on engine" not in cost_table(study, costs, "inline", 1)


def test_a_longer_training_costs_more() -> None:
    config = configs.compose([*BASE, "training.evaluate_every=0"])
    assert cost._hours(config, 1.0, 3600.0) == pytest.approx(1 + 1)


def test_data_that_is_not_there_shows_before_anything_runs() -> None:
    base = [text for text in BASE if "classifier" not in text][2:]
    content = {**CONTENT, "base": [*base, "dataset=mnist", "dataset.root=/nowhere"]}
    with pytest.raises(DataError, match="/nowhere"):
        cost.estimate(build_study(content))


def test_the_arithmetic_of_a_plain_network_is_known() -> None:
    """64 -> 16 -> 16 -> 1 in D, 8 -> 16 -> 16 -> 64 in G; a layer n -> m takes 2 n m."""
    small = ["architecture.hidden=16", "latent.dim=8", "training.batch_size=10"]
    d_step, g_step = arithmetic.step_flops(configs.compose([*BASE[:3], *small]))
    d = [64 * 16, 16 * 16, 16]
    g = [8 * 16, 16 * 16, 16 * 64]
    # D: G forward; D forward on both batches, backward to weights and, but for the first, inputs
    expected_d = sum(g) + 2 * (2 * sum(d) + sum(d[1:]))
    assert d_step == pytest.approx(20 * expected_d)
    # G: both forward; backward through D to its inputs alone, and to all but G's input
    expected_g = sum(g) + sum(d) + sum(d) + sum(g) + sum(g[1:])
    assert g_step == pytest.approx(20 * expected_g)


def test_a_studys_arithmetic_counts_every_setting_and_seed() -> None:
    study = build_study(
        {
            "name": "x", "base": [*BASE[:3], "training.d_steps=100"], "seeds": [0, 1],
            "settings": {"fixed": [{"training.n_disc": [1, 5]}]},
        }
    )  # fmt: skip
    d_step, g_step = arithmetic.step_flops(study.base_config())
    flops, d_steps = arithmetic.cell_flops(study, study.cells[0])
    assert d_steps == 400
    assert flops == pytest.approx(2 * (200 * d_step + 120 * g_step))
