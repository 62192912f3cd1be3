"""Study files made of parts, and studies scaled down."""

from __future__ import annotations

from pathlib import Path

import pytest
from analytic_trial import small_study
from omegaconf import OmegaConf

from gan_bench.errors import ConfigError, StudyError
from gan_bench.sweep import load_study, run_study
from gan_bench.sweep.engines import build_engine
from gan_bench.sweep.parts import read_file, resolve
from gan_bench.sweep.scale import evenly, scale_study

BASE = ["dataset=digits", "architecture=mlp", "evaluator=classifier", "device=cpu"]


def write(folder: Path, **contents: str) -> Path:
    for name, text in contents.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder / f"{next(iter(contents))}.yaml"


def test_parts_are_merged_in_order_and_base_lists_joined(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        top="include: [a, b]\nbase: [z=3]\nsettings: {bandit: {trials: 9}}",
        a="base: [x=1]\nsettings: {bandit: {trials: 1, kappa: 2}, fixed: [{lr: 1}]}",
        b="include: c\nbase: [y=2]",
        c="settings: {fixed: [{lr: 5}]}\nseeds: [0, 1]",
    )
    assert read_file(path) == {
        "base": ["x=1", "y=2", "z=3"],
        "settings": {"bandit": {"trials": 9, "kappa": 2}, "fixed": [{"lr": 5}]},
        "seeds": [0, 1],
    }


def test_what_is_defined_stands_wherever_it_is_named() -> None:
    content = {
        "define": {
            "net": "mlp",
            "both": ["${define.net}", 2],
            "method": {"space": "${define.both}"},
        },
        "base": ["architecture=${define.net}", "x=${dataset.name}"],
        "cells": {"a": "${define.method}", "b": "${define.method.space}"},
    }
    assert resolve(content) == {
        "base": ["architecture=mlp", "x=${dataset.name}"],
        "cells": {"a": {"space": ["mlp", 2]}, "b": ["mlp", 2]},
    }


@pytest.mark.parametrize(
    ("contents", "error", "words"),
    [
        ({"top": "include: [nowhere]"}, StudyError, "nowhere.yaml, which .*top.yaml includes, is"),
        ({"top": "include: [a]", "a": "include: [top]"}, StudyError, "includes itself"),
        ({"top": "include: [a]", "a": "- 1"}, StudyError, "a.yaml is no mapping"),
        ({"top": "name: x\nbase: ['a=${define.b}']"}, ConfigError, "name in define 'b'"),
        ({"top": "define: {a: '${define.a}'}\nbase: ['${define.a}']"}, ConfigError, "for itself"),
    ],
)
def test_mistakes_in_parts_are_one_line(
    tmp_path: Path, contents: dict[str, str], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        load_study(str(write(tmp_path, **contents)))


def test_a_scaled_study_is_shorter_everywhere_and_has_another_name() -> None:
    study = small_study(
        base=[*BASE, "training.d_steps=20000", "training.evaluate_every=2000"],
        settings={
            "fixed": [{"optimizer.lr": [1e-4, 2e-4, 3e-4, 4e-4]}],
            "space": {"optimizer.lr": "tag(log, interval(1e-4, 1e-2))"},
            "bandit": {"trials": 50, "mode": "batch", "batch": 10},
        },
        budget={"trials": 100, "gpu_hours": 10},
    )
    scaled = scale_study(study, 0.1)
    config = scaled.base_config()
    assert scaled.name == f"{study.name}_scale0.1"
    assert (config.training.d_steps, config.training.evaluate_every) == (2000, 200)
    assert config.training.images == 144  # of 1438
    assert (config.evaluator.n_real, config.evaluator.n_fake) == (100, 1000)
    assert [len(cell.fixed) for cell in scaled.cells] == [1] * len(study.cells)
    assert (scaled.bandit.trials, scaled.bandit.batch) == (5, 5)
    assert (scaled.budget.trials, scaled.budget.gpu_hours) == (10, 1.0)
    assert scaled.seeds == study.seeds and scale_study(study, 1.0) is study


@pytest.mark.parametrize("scale", [0.0, -1.0, 1.5, float("nan")])
def test_a_scale_out_of_range_is_refused(scale: float) -> None:
    with pytest.raises(ConfigError, match="above 0 and at most 1"):
        scale_study(small_study(base=BASE), scale)


def test_cells_that_set_their_own_length_are_refused() -> None:
    study = small_study(base=BASE, cells={"a": {"x": ["training.steps=7"]}})
    with pytest.raises(ConfigError, match="cell x sets training.steps=7"):
        scale_study(study, 0.5)


def test_evenly_spaced_items_begin_with_the_first() -> None:
    assert evenly(list(range(24)), 3) == [0, 8, 16]
    assert evenly([1, 2], 2) == [1, 2]


def test_the_best_setting_of_another_study(tmp_path: Path) -> None:
    from analytic_trial import analytic_trial

    earlier = small_study()
    folder = tmp_path / "earlier"
    summary = run_study(
        earlier, folder, engine=build_engine("inline", folder), trial=analytic_trial
    )
    content = {
        "name": "again",
        "base": earlier.base,
        "cells": {"loss": ["non_saturating", "wasserstein"]},
        "settings": {"best_of": str(folder)},
        "seeds": list(range(5)),
    }
    path = tmp_path / "again.yaml"
    OmegaConf.save(OmegaConf.create(content), path)
    study = load_study(str(path))
    assert study.total == 2 * 5
    for cell in study.cells:
        assert cell.fixed == [summary.best[cell.name].settings]
    (folder / "trials.jsonl").unlink()
    with pytest.raises(StudyError, match="no trial with a value in cell non_saturating"):
        load_study(str(path))
