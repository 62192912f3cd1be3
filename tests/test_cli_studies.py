"""Studies from the command line: what a user types, from a dry run to going on after a cancel."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from gan_bench.cli import main
from gan_bench.sweep import read_study, read_trials

STUDY = {
    "name": "tiny",
    "objective": {"metric": "fid"},
    "base": [
        *("dataset=digits", "architecture=mlp", "architecture.hidden=16", "latent.dim=4"),
        *("device=cpu", "evaluator=classifier", "evaluator.n_fake=64", "evaluator.metrics=[fid]"),
        *("training.steps=20", "training.checkpoint_every=10", "training.evaluate_every=10"),
    ],
    "cells": {"loss": ["non_saturating", "hinge"]},
    "settings": {"fixed": [{"optimizer.lr": [1e-4, 1e-3]}]},
}


@pytest.fixture
def study(tmp_path: Path) -> str:
    path = tmp_path / "tiny.yaml"
    OmegaConf.save(OmegaConf.create(STUDY), path)
    return f"study={path}"


def test_a_dry_run_prints_cells_trials_and_hours(study: str, tmp_path: Path, capsys) -> None:
    assert main(["sweep", study, "--dry-run", "engine=local", "engine.slots=4"]) == 0
    text = capsys.readouterr().out
    assert "2 cells, 4 trials; objective fid" in text
    assert "device hours" in text and "engine local with 4 slots" in text
    assert main(["sweep", study, "--dry-run", "probe=false", "seeds=[0,1,2]"]) == 0
    text = capsys.readouterr().out
    assert "2 cells, 12 trials" in text and "device hours" not in text
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"]


def test_a_sweep_on_worker_processes_its_status_and_a_fork(
    study: str, tmp_path: Path, capsys
) -> None:
    folder = tmp_path / "study"
    engine = tmp_path / "two.yaml"
    engine.write_text("name: local\nslots: 2\nthreads: 1\n")
    arguments = ["sweep", study, f"study_dir={folder}", f"engine={engine}"]
    assert main([*arguments, "budget.trials=3"]) == 0
    printed = capsys.readouterr()
    assert "not all trials were run: budget.trials=3 is used up" in printed.out
    assert "best fid of each cell" in printed.out and "report.html" in printed.out
    assert {trial.engine for trial in read_trials(folder)} == {"local"}
    assert main(["status", f"study_dir={folder}"]) == 0
    text = capsys.readouterr().out
    assert "tiny: 3 of 4 trials done" in text and "none at work; go on with" in text

    # its study.yaml is enough to go on, here in this process
    assert main([*arguments[:-1], "engine=inline"]) == 0
    assert main(["sweep", f"study_dir={folder}", "engine=inline"]) == 0
    assert main(["status", f"study_dir={folder}", "--watch"]) == 0
    assert "4 of 4 trials done" in capsys.readouterr().out
    assert main(["cancel", f"study_dir={folder}"]) == 0
    assert "0 trials are begun and not finished" in capsys.readouterr().out

    wider = ["sweep", study, "seeds=[0,1]", f"study_dir={tmp_path / 'wider'}"]
    assert main([*wider[:-1], f"study_dir={folder}"]) == 2
    assert "with fork=OLD_STUDY_DIR" in capsys.readouterr().err
    assert main([*wider, f"fork={folder}", "budget.trials=5"]) == 0
    assert "4 of 4 finished trials taken over" in capsys.readouterr().err
    assert len(read_trials(tmp_path / "wider")) == 5


def test_the_engine_of_a_study_file_is_the_default(study: str, tmp_path: Path, capsys) -> None:
    path = tmp_path / "local.yaml"
    OmegaConf.save(OmegaConf.create({**STUDY, "engine": {"name": "local", "slots": 3}}), path)
    dry = ["sweep", f"study={path}", "--dry-run", "probe=false"]
    assert main(dry) == 0
    assert main([*dry, "engine.slots=x"]) == 2
    assert "engine.slots" in capsys.readouterr().err
    folder = f"study_dir={tmp_path / 'study'}"
    assert main(["sweep", f"study={path}", folder, "engine.slots=x"]) == 2
    assert "engine.slots" in capsys.readouterr().err
    assert main(["sweep", f"study={path}", folder, "engine=inline", "engine.slots=3"]) == 2
    assert "unknown field of engine 'slots'" in capsys.readouterr().err
    assert not (tmp_path / "study").exists()
    assert main(["sweep", f"study={path}", folder, "engine=inline", "budget.trials=1"]) == 0
    assert read_study(tmp_path / "study").engine == {"name": "local", "slots": 3}
