"""Counts, top 5% and medians against values worked out by hand."""

from __future__ import annotations

import math

import pytest

from gan_bench.errors import StudyError
from gan_bench.report import compare_cells
from gan_bench.report.aggregate import split_parts, top_count
from gan_bench.report.study import read_study


@pytest.mark.parametrize(("n", "k"), [(0, 0), (1, 1), (19, 1), (20, 1), (21, 2), (40, 2), (100, 5)])
def test_the_top_5_percent_is_a_twentieth_rounded_up(n, k):
    assert top_count(n) == k == math.ceil(n / 20)


def test_cells_table_of_known_trials(build):
    study = build()
    study.cell("a", loss="hinge")
    study.cell("b", loss="wasserstein")
    for i in range(39):
        study.trial("a", 100.0 - i, {"optimizer.lr": 1e-4 * (i + 1)})
    study.trial("a", None, {"optimizer.lr": 0.5}, status="diverged")
    study.trial("b", 70.0, {"optimizer.lr": 1.0}, kid_mean_digits_cnn=0.5)
    study.trial("b", None, {"optimizer.lr": 2.0}, status="failed", error="boom")
    frame = compare_cells(study.folder).set_index("cell")
    assert list(frame.index) == ["a", "b"], "best first"
    a, b = frame.loc["a"], frame.loc["b"]
    assert (a.trials, a.completed, a.diverged, a.failed) == (40, 39, 1, 0)
    assert (a.best, a.top5_count, a.top5_median, a.top5_min, a.top5_max) == (62, 2, 62.5, 62, 63)
    assert (b.trials, b.completed, b.failed, b.top5_count, b.best) == (2, 1, 1, 1, 70)
    assert b["best.kid_mean_digits_cnn"] == 0.5
    assert (a.g_steps, a.d_steps) == (600, 3000)


def test_the_best_setting_is_by_the_median_over_seeds_not_by_one_lucky_seed(build):
    study = build()
    study.cell("a")
    for seed, fid in enumerate((5.0, 50.0, 60.0)):
        study.trial("a", fid, {"optimizer.lr": 1e-3}, seed)
    for seed, fid in enumerate((20.0, 22.0, 21.0)):
        study.trial("a", fid, {"optimizer.lr": 1e-4}, seed)
    (row,) = compare_cells(study.folder).to_dict("records")
    assert row["best"] == 5.0
    assert (row["setting_median"], row["setting_seeds"], row["n_settings"]) == (21.0, 3, 2)


def test_a_diverged_seed_counts_as_the_worst(build):
    study = build()
    study.cell("a")
    study.trial("a", 5.0, {"optimizer.lr": 1e-3}, 0)
    for seed in (1, 2):
        study.trial("a", None, {"optimizer.lr": 1e-3}, seed, status="diverged")
    for seed in (0, 1, 2):
        study.trial("a", 30.0, {"optimizer.lr": 1e-4}, seed)
    (row,) = compare_cells(study.folder).to_dict("records")
    assert row["setting_median"] == 30.0


def test_a_metric_that_is_better_high(build):
    study = build(objective={"metric": "is_mean", "mode": "max", "at": "final"})
    study.cell("a")
    for value in (3.0, 5.0, 4.0):
        study.trial("a", value, {"optimizer.lr": value})
    (row,) = compare_cells(study.folder).to_dict("records")
    assert row["best"] == row["top5_median"] == 5.0


def test_a_stem_finds_the_metric_with_its_extractor(build):
    study = build(objective={"metric": "fid_digits_cnn", "mode": "min", "at": "best"})
    study.cell("a")
    study.trial("a", 9.0)
    study.objective = {"metric": "fid", "mode": "min", "at": "best"}
    study.plan()
    (part,) = split_parts(read_study(study.folder))
    assert part.objective.metric == "fid_digits_cnn"
    assert compare_cells(study.folder).loc[0, "best"] == 9.0


def test_figures_of_different_protocols_never_stand_in_one_table(build):
    study = build()
    for cell in ("a", "b"):
        study.cell(cell)
    study.trial("a", 10.0)
    study.trial("b", 20.0, protocol="another")
    with pytest.raises(StudyError, match="can't stand in one table"):
        compare_cells(study.folder)
    parts = split_parts(read_study(study.folder))
    assert [[cell.name for cell in part.cells] for part in parts] == [["a"], ["b"]]


def test_a_baseline_of_another_protocol_is_left_out_and_named(build):
    study = build()
    study.cell("a")
    study.trial("a", 10.0)
    study.baselines(untrained=80.0, real=1.0, protocol="another")
    (part,) = split_parts(read_study(study.folder))
    assert part.baseline("untrained") is None and "another protocol" in part.notes[0]
    study.baselines(untrained=80.0, real=1.0)
    (part,) = split_parts(read_study(study.folder))
    assert (part.baseline("untrained"), part.baseline("real")) == (80.0, 1.0)
