"""Several study directories as one report."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from gan_bench.errors import ConfigError, StudyError
from gan_bench.report import write_report
from gan_bench.report.aggregate import split_parts
from gan_bench.report.effects import factor_effects
from gan_bench.report.merge import read_studies
from gan_bench.report.overview import ranks


def test_trials_of_both_are_there_and_shared_ones_once(build):
    first, second = build("first"), build("second")
    for study in (first, second):
        study.cell("a")
    shared = first.propose("a", {"optimizer.lr": 1.0})
    second.trial("a", 7.0, {"optimizer.lr": 1.0})
    assert shared == "t0000"  # the same id: the same study on another machine
    first.trial("a", 9.0, {"optimizer.lr": 2.0})
    first.baselines(untrained=80.0, real=1.0)
    merged = read_studies([first.folder, second.folder])
    assert sorted((t.trial_id, t.status, t.objective) for t in merged.trials) == [
        ("t0000", "completed", 7.0), ("t0001", "completed", 9.0),
    ]  # fmt: skip
    (part,) = split_parts(merged)
    assert part.baseline("untrained") == 80.0 and part.notes == ()


def test_data_sets_are_parts_and_cells_are_ranked_over_them(build):
    studies = []
    orders = (("digits", "abc"), ("mnist", "acb"), ("fashion_mnist", "abc"))
    for number, (name, order) in enumerate(orders):
        metric = f"fid_{name}_cnn"
        study = build(name, {"metric": metric, "mode": "min", "at": "best"})
        for value, cell in enumerate(order):
            study.cell(cell, loss=cell)
            study.count += 100 * number  # other ids than the others'
            study.trial(cell, 10.0 + value, dataset=name, protocol=name)
        studies.append(study.folder)
    parts = split_parts(read_studies(studies))
    assert [part.objective.metric for part in parts] == [
        "fid_digits_cnn", "fid_mnist_cnn", "fid_fashion_mnist_cnn",
    ]  # fmt: skip
    assert ranks(parts) == pytest.approx({"a": 1.0, "b": 7 / 3, "c": 8 / 3})


def test_another_objective_is_refused(build):
    first = build("first")
    second = build("second", {"metric": "is_mean", "mode": "max", "at": "final"})
    with pytest.raises(StudyError, match="they can't be one report"):
        read_studies([first.folder, second.folder])


def test_a_broken_study_or_share_is_one_line(build, tmp_path: Path):
    study = build()
    with pytest.raises(StudyError, match="there is no such folder"):
        write_report([study.folder, tmp_path / "nowhere"])
    with pytest.raises(ConfigError, match="top is 0"):
        write_report(study.folder, share=0)


def test_one_report_of_two_studies_links_to_both(build, tmp_path: Path):
    first, second = build("first"), build("second")
    for study in (first, second):
        study.cell("a")
        study.count += 7 * (study is second)
        study.trial("a", 9.0)
    page = write_report([first.folder, second.folder], tmp_path / "out" / "both")
    text = page.read_text()
    assert "../../first/trials/t0000" in text and "../../second/trials/t0007" in text
    rows = pd.read_csv(page.parent / "trials.csv")
    assert list(rows.trial_id) == ["t0000", "t0007"]


def test_the_factor_that_matters_has_the_largest_share(build):
    study = build()
    for cell in ("hinge", "wasserstein"):
        study.cell(cell, loss=cell)
    for i in range(40):
        cell = ("hinge", "wasserstein")[i % 2]
        settings = {"optimizer.lr": 1e-4 * (1 + i // 2 % 5), "optimizer.beta1": (i * 7 % 11) / 11}
        study.trial(cell, (10.0 if i % 2 else 50.0) + 0.5 * (i // 2 % 5), settings)
    (part,) = split_parts(read_studies([study.folder]))
    effects = factor_effects(part)
    assert effects is not None
    assert next(iter(effects)) == "loss" and effects["loss"] > 0.9
    assert sum(effects.values()) == pytest.approx(1.0)


def test_a_report_can_be_made_again_from_its_trials_csv(build, tmp_path: Path):
    study = build()
    for cell in ("hinge/none", "wasserstein/none"):
        study.cell(cell, loss=cell.partition("/")[0])
    for i in range(12):
        cell = ("hinge/none", "wasserstein/none")[i % 2]
        study.trial(cell, 10.0 + i, {"optimizer.lr": 1e-4 * (1 + i // 4)}, i, kid_mean_digits_cnn=i)
    study.trial("hinge/none", None, {"optimizer.lr": 1.0}, status="diverged", error="NaN")
    study.baselines(untrained=80.0, real=1.5)
    first = write_report(study.folder).parent
    again = tmp_path / "again"
    again.mkdir()
    for name in ("study.yaml", "baselines.json"):
        (again / name).write_text((study.folder / name).read_text())
    (again / "trials.csv").write_text((first / "trials.csv").read_text())
    second = write_report(again).parent
    for name in ("cells", "pairs", "robustness"):
        ours, theirs = (
            (folder / "tables" / f"{name}.csv").read_text() for folder in (first, second)
        )
        assert ours == theirs
    assert (first / "trials.csv").read_text() == (second / "trials.csv").read_text()
    (again / "trials.csv").write_text("a,b\n1,2\n")
    with pytest.raises(StudyError, match="no column trial_id"):
        write_report(again)
