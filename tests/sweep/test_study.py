"""Study files: what they say, what is refused, what identifies a study."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
from analytic_trial import CONTENT, small_study
from omegaconf import OmegaConf

from gan_bench import config as configs
from gan_bench.errors import ConfigError, StudyError
from gan_bench.sweep import Objective, Study, build_study, load_study, read_study
from gan_bench.sweep.study import save_study
from gan_bench.sweep.study_file import study_names

METHODS: dict[str, Any] = {
    "none": [],
    "gradient_penalty": {
        "overrides": ["regularizer=gradient_penalty"],
        "space": {"regularizer.weight": "tag(log, interval(0.1, 100))"},
        "fixed": {"regularizer.weight": [1, 10]},
    },
    "spectral_norm": "normalizer=spectral_norm",
}


def changed(path: str, value: Any) -> dict[str, Any]:
    content = copy.deepcopy(CONTENT)
    *parents, leaf = path.split("/")
    node = content
    for parent in parents:
        node = node[parent]
    node[leaf] = value
    return content


def test_cells_are_the_product_of_the_axes_each_with_its_own_space_and_settings() -> None:
    study = small_study(cells={"loss": ["ns", "wasserstein"], "method": METHODS})
    assert [cell.name for cell in study.cells] == [
        f"{loss}/{method}" for loss in ("non_saturating", "wasserstein") for method in METHODS
    ]
    none, penalty, spectral = study.cells[:3]
    assert none.axes == {"loss": "non_saturating", "method": "none"}
    assert penalty.overrides == ["loss=non_saturating", "regularizer=gradient_penalty"]
    assert spectral.overrides == ["loss=non_saturating", "normalizer=spectral_norm"]
    assert set(penalty.space.dimensions) - set(none.space.dimensions) == {"regularizer.weight"}
    assert [settings["regularizer.weight"] for settings in penalty.fixed] == [1.0, 10.0]
    assert len(none.fixed) == 1
    # fixed: (1 + 2 + 1) settings x 2 losses x 2 seeds; searched: 6 cells x 2
    assert study.total == 4 * 2 * 2 + 6 * 2


def test_lists_in_fixed_settings_multiply_and_repeats_collapse() -> None:
    rows = [
        {"optimizer.lr": [1e-4, 2e-4], "optimizer.beta1": [0, 0.5]},
        {"optimizer.lr": 2e-4, "optimizer.beta1": 0.0},
    ]
    study = build_study(changed("settings/fixed", rows))
    assert len(study.cells[0].fixed) == 4
    assert all(type(row["optimizer.beta1"]) is float for row in study.cells[0].fixed)


def test_a_study_without_cells_is_one_cell_and_a_finite_space_bounds_the_search() -> None:
    study = small_study(cells=None, settings={"bandit": {"trials": 10}})
    assert [cell.name for cell in study.cells] == ["all"]
    assert study.total == 2
    space = {"training.n_disc": [1, 5]}
    settings = {"fixed": [{"training.n_disc": 5}], "space": space, "bandit": {"trials": 10}}
    assert small_study(settings=settings, seeds=[0]).total == 2 * (1 + 1)


def test_a_trials_config_is_base_cell_settings_and_seed() -> None:
    study = small_study(cells={"method": METHODS})
    cell = study.cells[1]
    trial = study.trial(cell, cell.fixed[1], "fixed", 1, 7)
    config = study.config(trial, Path("a study/trials") / trial.trial_id)
    assert config.regularizer["weight"] == 10 and config.optimizer.lr == 2e-4
    assert config.seed == 7 and config.device == "cpu"
    assert config.run_dir == f"a study/trials/{trial.trial_id}"


def test_trial_ids_depend_on_name_cell_settings_and_seed_only() -> None:
    study = small_study()
    cell, other = study.cells
    settings = cell.fixed[0]
    first = study.trial(cell, settings, "fixed", 0, 0).trial_id
    assert study.trial(cell, dict(reversed(settings.items())), "bandit", 3, 0).trial_id == first
    ids = {
        first,
        study.trial(cell, settings, "fixed", 0, 1).trial_id,
        study.trial(other, settings, "fixed", 0, 0).trial_id,
        study.trial(cell, {**settings, "optimizer.lr": 1e-3}, "fixed", 0, 0).trial_id,
        small_study(name="another").trial(cell, settings, "fixed", 0, 0).trial_id,
    }
    assert len(ids) == 5


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("cell", {}, "did you mean 'cells'"),
        ("name", "", "no name"),
        ("objective/metrc", "fid", "did you mean 'metric'"),
        ("objective/mode", "mn", "did you mean 'min'"),
        ("settings/badnit", {}, "did you mean 'bandit'"),
        ("settings/bandit/trails", 3, "did you mean 'trials'"),
        ("settings/bandit/trials", -1, "at least 0"),
        ("settings/bandit/trials", "many", "whole number"),
        ("settings/bandit/kappa", -1, "kappa"),
        ("settings/bandit/suggester", "randon", "did you mean 'random'"),
        ("settings/space/optimizer.lr", "tag(log, interval(0, 1))", "log scale"),
        ("settings/space/optimizer.lrr", "interval(0, 1)", "field of optimizer 'lrr'"),
        ("settings/space/training.n_disc", "interval(1, 5)", "n_disc"),
        ("settings/fixed", [{"optimizer.betaone": 0.5}], "betaone"),
        ("settings/fixed", {"optimizer.lr": 1}, "list of settings"),
        ("seeds", [0, 0], "comes twice"),
        ("seeds", [], "list of whole numbers"),
        ("seeds", ["a"], "list of whole numbers"),
        ("cells/loss", ["non_saturating", "hnge"], "did you mean 'hinge'"),
        ("cells/loss", ["ns", "non_saturating"], "comes twice"),
        ("cells/loss", [], "is empty"),
        ("cells/method", {"gp": {"override": []}}, "did you mean 'overrides'"),
        ("cells/method", {"gp": ["gradient_penalty"]}, "field=value"),
        ("cells/method", {"gp": ["regularizer=gradient_penlty"]}, "gradient_penalty"),
        ("settings/bandit/mode", "batched", "did you mean 'batch'"),
        ("settings/bandit/batch", 0, "at least 1"),
        ("settings/bandit/xi", "a", "xi"),
        ("settings/bandit/rounds", 3, "rounds and trials"),
        ("settings/random", {"trials": 3}, "both set"),
        ("settings/grid", [1], "must be a mapping"),
        ("exclude", {"loss": "hinge"}, "list of combinations"),
        ("exclude", [{"los": "hinge"}], "did you mean 'loss'"),
        ("exclude", [{"loss": "minimax"}], "unknown loss in exclude 'minimax'"),
        ("exclude", [{}], "empty combination"),
        ("exclude", [{"loss": "ns"}, {"loss": "wasserstein"}], "leaves no cells"),
        ("budget", {"gpu_hour": 3}, "did you mean 'gpu_hours'"),
        ("budget", {"gpu_hours": "a lot"}, "budget.gpu_hours: Value 'a lot'"),
        ("stop", {"patience": 0}, "at least 1"),
        ("early_stopping", {"eta": 0.5}, "above 1"),
        ("retries", {"lost": "often"}, "retries.lost"),
        ("base", ["dataset=digts"], "digits"),
        ("base", ["seed=3"], "sets seed itself"),
    ],
)
def test_mistakes_are_refused_before_anything_runs(path: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        build_study(changed(path, value))
    assert "\n" not in str(caught.value)


def test_combinations_can_be_left_out() -> None:
    axes = {"loss": ["ns", "wasserstein", "hinge"], "method": METHODS}
    exclude = [{"loss": "ns", "method": "none"}, {"method": "spectral_norm"}]
    study = small_study(cells=axes, exclude=exclude)
    assert [cell.name for cell in study.cells] == [
        "non_saturating/gradient_penalty",
        "wasserstein/none",
        "wasserstein/gradient_penalty",
        "hinge/none",
        "hinge/gradient_penalty",
    ]


def test_a_grid_follows_the_fixed_settings_and_rounds_are_batches() -> None:
    study = build_study(
        {
            "name": "grid",
            "settings": {
                "fixed": [{"optimizer.lr": 1e-3, "optimizer.beta1": 0.0}],
                "grid": {"optimizer.lr": [1e-4, 1e-3], "optimizer.beta1": [0.0, 0.5]},
                "space": {"optimizer.lr": "interval(0, 1)"},
                "bandit": {"rounds": 12, "batch": 10, "mode": "batch", "suggester": "gp"},
            },
        }
    )
    (cell,) = study.cells
    pairs = [(s["optimizer.lr"], s["optimizer.beta1"]) for s in cell.fixed]
    assert pairs == [(1e-3, 0.0), (1e-4, 0.0), (1e-4, 0.5), (1e-3, 0.5)]
    assert (study.bandit.trials, study.bandit.batch, study.bandit.mode) == (120, 10, "batch")
    drawn = small_study(settings={"random": {"trials": 7}, "space": CONTENT["settings"]["space"]})
    assert (drawn.bandit.suggester, drawn.bandit.trials) == ("random", 7)


def test_limits_and_engine_are_read_kept_and_may_change(tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "budget": {"trials": 5, "gpu_hours": 1.5},
        "stop": {"patience": 3},
        "retries": {"lost": 9},
        "engine": {"name": "local", "slots": 3},
    }
    study = small_study(**changes, early_stopping={"eta": 4, "min_steps": 10})
    save_study(study, tmp_path)
    again = read_study(tmp_path)
    assert again == study and again.budget.gpu_hours == 1.5 and again.retries.lost == 9
    assert again.early_stopping is not None and again.early_stopping.eta == 4
    save_study(small_study(early_stopping={"eta": 4, "min_steps": 10}), tmp_path)
    with pytest.raises(StudyError, match="early_stopping"):
        save_study(small_study(), tmp_path)


def test_a_study_without_trials_is_refused() -> None:
    with pytest.raises(ConfigError, match="no trials"):
        small_study(settings={})


def test_overrides_of_the_command_line_join_the_base(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    OmegaConf.save(OmegaConf.create({**CONTENT, "base": ["training.steps=9"]}), path)
    study = load_study(
        str(path), ["training.steps=50", "device=cpu", "settings.bandit.trials=1", "seeds=[4]"]
    )
    assert study.base == ["training.steps=50", "device=cpu"]
    assert study.base_config().training.steps == 50
    assert (study.bandit.trials, study.seeds) == (1, (4,))
    for override in ("loss=hinge", "optimizer.lr=1e-3", "seed=3"):
        with pytest.raises(ConfigError, match="itself"):
            load_study(str(path), [override])


def test_numbers_of_a_file_are_numbers(tmp_path: Path) -> None:
    """PyYAML reads 1e-4 as a string."""
    path = tmp_path / "mine.yaml"
    path.write_text("settings:\n  fixed: [{optimizer.lr: 1e-4}]\n")
    study = load_study(str(path))
    assert study.name == "mine"
    assert study.cells[0].fixed == [{"optimizer.lr": 1e-4}]


def test_studies_that_are_missing_or_unreadable(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="did you mean 'demo'"):
        load_study("dmo")
    with pytest.raises(StudyError, match="missing"):
        load_study(str(tmp_path / "none.yaml"))
    for name, text in (("torn.yaml", "a: [1,"), ("list.yaml", "- 1\n"), ("text.yaml", "words")):
        (tmp_path / name).write_text(text)
        with pytest.raises((StudyError, ConfigError), match=name):
            load_study(str(tmp_path / name))


SHIPPED = [name for name in study_names() if not name.startswith("equal/seeds")]
FEW = ("demo", "landscape/joint_cifar10", "equal/wide_mnist", "small/regularization_digits")


@pytest.mark.parametrize(
    "name", [*FEW, *(pytest.param(n, marks=pytest.mark.slow) for n in SHIPPED if n not in FEW)]
)
def test_shipped_studies_resolve(name: str) -> None:
    study = load_study(name)
    assert study.total > 0


def test_the_papers_studies_are_there() -> None:
    """Twelve of The GAN Landscape, twelve of Are GANs Created Equal, SNGAN's, and the hub's."""
    groups = [name.split("/")[0] for name in study_names()]
    counts = {group: groups.count(group) for group in ("landscape", "equal", "sngan", "hub")}
    assert counts == {"landscape": 12, "equal": 12, "sngan": 1, "hub": 3}


@pytest.mark.parametrize(
    ("name", "overrides", "fixed", "searched"),
    [
        # 24 settings with a weight, 12 without, 5 seeds; 2 x 12 rounds of 10
        ("landscape/joint_cifar10", [], {12, 24}, 24),
        ("equal/wide_mnist", [], {0}, 100),
    ],
)
def test_a_paper_study_is_as_large_as_the_papers(
    name: str, overrides: list[str], fixed: set[int], searched: int
) -> None:
    study = load_study(name, overrides)
    assert {len(cell.fixed) for cell in study.cells} == fixed
    assert study.bandit.trials == searched


def test_study_yaml_reads_back_and_refuses_another_study(tmp_path: Path) -> None:
    study = small_study(cells={"method": METHODS})
    save_study(study, tmp_path)
    assert read_study(tmp_path) == study
    assert Study.from_dict(study.to_dict()) == study
    save_study(study, tmp_path)
    other = small_study(cells={"method": METHODS}, base=["dataset=digits", "training.steps=5"])
    with pytest.raises(StudyError, match="training.steps=5.*use another study_dir") as caught:
        save_study(other, tmp_path)
    assert "\n" not in str(caught.value)
    with pytest.raises(StudyError, match="and 1 more"):
        save_study(small_study(cells={"loss": ["hinge", "ns", "ls", "wgan"]}), tmp_path)


def test_where_trials_run_and_how_many_are_searched_may_change(tmp_path: Path) -> None:
    save_study(small_study(), tmp_path)
    content = changed("settings/bandit/trials", 5)
    content["base"] = ["dataset=digits", "architecture=mlp", "device=auto"]
    save_study(build_study(content), tmp_path)
    assert read_study(tmp_path).bandit.trials == 5


def test_study_directories_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="study.yaml is missing"):
        read_study(tmp_path)
    (tmp_path / "study.yaml").write_text("schema: 99\n")
    with pytest.raises(StudyError, match="schema 99"):
        read_study(tmp_path)
    for text in ("schema: [", "schema: 1\nname: x\n", "words"):
        (tmp_path / "study.yaml").write_text(text)
        with pytest.raises(StudyError):
            read_study(tmp_path)


def test_objectives_find_their_metric_whatever_extractor_it_carries() -> None:
    result = {
        "status": "completed",
        "metrics": {"fid_digits_cnn": 9.0, "is_mean": 2.0},
        "best": {"step": 5, "fid_digits_cnn": 7.0},
    }
    assert Objective("fid").value(result) == 7.0
    assert Objective("fid_digits_cnn", at="final").value(result) == 9.0
    assert Objective("is_mean", at="final", mode="max").value(result) == 2.0
    assert Objective("kid").find(result) is None
    assert Objective("fid").value({**result, "status": "diverged"}) is None
    assert Objective("fid").value({**result, "best": {"fid": float("nan")}}) is None
    assert Objective("fid").value({"status": "failed", "metrics": {}, "best": {}}) is None
    assert Objective(mode="max").better(2, 1) and Objective().better(1, 2)


@pytest.mark.slow
def test_the_costs_in_the_docs_are_those_of_the_studies() -> None:
    page = configs.resource_dir("docs") / "paper_studies.md"
    rows = re.findall(r"\| `([\w/]+)` \| (\d+) \| ([\d,]+) \| ([\d,.]+) M \|", page.read_text())
    papers = [name for name in SHIPPED if name.split("/")[0] not in ("demo", "small")]
    assert sorted(name for name, *_ in rows) == papers
    for name, cells, trials, _ in rows:
        study = load_study(name)
        assert (len(study.cells), study.total) == (int(cells), int(trials.replace(",", "")))
