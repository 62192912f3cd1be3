"""Hydra's face on studies: `--multirun hydra/sweeper=gan_bench`."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper

from gan_bench import files
from gan_bench.config import resource_dir
from gan_bench.sweep import build_study, read_study, read_trials

MODULE = "hydra_plugins.gan_bench_sweeper.gan_bench_sweeper"

PROGRAM = """
import json, sys
import hydra
import gan_bench.run
from gan_bench import config as configs
from gan_bench import files

def run_trial(run_dir):
    config = configs.load(run_dir / "config.yaml")
    values = {"fid_digits_cnn": 1000 * config.optimizer.lr + config.seed}
    files.write_json(run_dir / "result.json", {
        "schema": 1, "status": "completed", "metrics": values, "best": values, "error": None})

gan_bench.run.run_trial = run_trial

@hydra.main(version_base="1.3", config_path=str(configs.resource_dir("conf")), config_name="config")
def main(composed):
    raise SystemExit("the task function is not for studies")

main()
"""


def multirun(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, "--multirun", "hydra/sweeper=gan_bench", *arguments],
        cwd=folder,
        env={**os.environ, "HYDRA_FULL_ERROR": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )


def content_of(arguments: list[str], **options: Any) -> dict[str, Any]:
    sweeper = importlib.import_module(MODULE).GanBenchSweeper(**options)
    with initialize_config_dir(version_base="1.3", config_dir=str(resource_dir("conf"))):
        loader = GlobalHydra.instance().config_loader()
        context: Any = SimpleNamespace(config_loader=loader)
        sweeper.setup(hydra_context=context, task_function=print, config=None)
        content = sweeper.content(arguments)
    assert isinstance(content, dict)
    return content


def test_hydra_finds_the_sweeper() -> None:
    assert "GanBenchSweeper" in [found.__name__ for found in Plugins.instance().discover(Sweeper)]


def test_groups_become_cells_ranges_the_space_and_the_rest_the_base() -> None:
    content = content_of(
        [
            "loss=ns,wasserstein",
            "regularizer=none",
            "optimizer.lr=tag(log, interval(1e-4,1e-2))",
            "training.n_disc=1,5",
            "seed=3,4",
            "training.steps=7",
        ],
        trials=3,
        metric="is_mean",
        mode="max",
    )
    assert content["cells"] == {"loss": ["non_saturating", "wasserstein"]}
    assert content["base"] == ["regularizer=none", "training.steps=7"]
    assert content["seeds"] == [3, 4]
    study = build_study(content)
    assert set(study.cells[0].space.dimensions) == {"optimizer.lr", "training.n_disc"}
    assert study.total == 2 * 3 * 2
    assert (study.objective.metric, study.objective.mode) == ("is_mean", "max")


def test_a_glob_over_a_group_names_each_part_once() -> None:
    losses = content_of(["loss=glob(*)"])["cells"]["loss"]
    assert len(set(losses)) == len(losses) >= 5
    recipes = content_of(["recipe=choice(sngan_cifar10,wgan_gp_cifar10)"])["cells"]
    assert recipes == {"recipe": ["sngan_cifar10", "wgan_gp_cifar10"]}


def test_a_multirun_is_a_study_whose_directory_the_same_command_finds_again(tmp_path: Path) -> None:
    arguments = [
        "loss=hinge,wasserstein",
        "optimizer.lr=tag(log, interval(1e-4,1e-2))",
        "training.steps=5",
    ]
    done = multirun(tmp_path, *arguments, "hydra.sweeper.trials=3")
    assert done.returncode == 0, done.stderr
    (study_dir,) = (tmp_path / "results" / "studies").iterdir()
    study = build_study(content_of(arguments, trials=3))
    assert study_dir.name == f"multirun-{files.digest(study.identity(), 8)}"
    assert read_study(study_dir) == study
    trials = read_trials(study_dir)
    assert [trial.cell for trial in trials] == ["hinge", "wasserstein"] * 3
    assert all(trial.status == "completed" and trial.objective for trial in trials)
    assert "6/6" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


@pytest.mark.parametrize(
    ("argument", "message"),
    [("loss=hinge,wassertein", "did you mean 'wasserstein'"), ("run_dir=x", "itself")],
)
def test_mistakes_name_what_is_meant(argument: str, message: str) -> None:
    with pytest.raises(Exception, match=message):
        build_study(content_of([argument]))
