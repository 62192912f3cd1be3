"""Configs: every shipped one composes; what is misspelt or out of range is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from gan_bench import config as configs
from gan_bench.errors import ConfigError
from gan_bench.registry import REGISTRIES

CONF = configs.resource_dir("conf")
SHIPPED = [
    f"{file.parent.relative_to(CONF)}={file.stem}"
    for file in sorted(CONF.glob("*/*.yaml"))
    if not file.parts[-2].startswith("hydra")
]
CHOICES = [f"{group}={name}" for group in configs.GROUPS for name in REGISTRIES[group].names()]


@pytest.mark.parametrize("override", SHIPPED + CHOICES)
def test_every_shipped_config_composes(override):
    configs.compose([override])


def test_defaults_stand_in_the_signature_only():
    config = configs.compose(["loss=wgan", "regularizer=gp"])
    assert config.loss == {"name": "wasserstein", "drift": 0.0}
    assert config.regularizer["name"] == "gradient_penalty"
    assert config.evaluator.extractor == "classifier:digits"


def test_recipes_set_groups_and_values_and_the_command_line_wins():
    config = configs.compose(["recipe=wgan_gp_cifar10", "training.n_disc=1"])
    assert config.loss["name"] == "wasserstein" and config.dataset["name"] == "cifar10"
    assert config.optimizer.beta1 == 0.0 and config.training.n_disc == 1
    assert config.training.g_steps == 200_000


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("loss=hinje", "did you mean 'hinge'"),
        ("+training.stps=5", "field of training 'stps'; did you mean 'steps'"),
        ("training.stps=5", "field of training 'stps'; did you mean 'steps'"),
        ("los=hinge", "field of the config 'los'; did you mean 'loss'"),
        ("architecture.hiden=3", "field of architecture 'hiden'; did you mean 'hidden'"),
        ("loss.drift=1", "drift"),
        ("+loss.drift=1", "drift"),
        ("optimizer.lr=-1", "optimizer.lr is -1.0; it must be above 0"),
        ("optimizer.lr=fast", "fast"),
        ("optimizer.beta1=1", r"lie in \[0, 1\)"),
        ("training.n_disc=0", "n_disc"),
        ("training.batch_size=0", "batch_size"),
        ("training.precision=fp16", "unknown training.precision 'fp16'"),
        ("latent.distribution=gauss", "latent.distribution"),
        ("evaluator.metrics=[fidd]", "did you mean 'fid'"),
        ("evaluator.metrics=[]", "at least one metric"),
        ("seed=-1", "seed"),
        ("training.steps=[", "training.steps"),
        ("recipe=nope", "nope"),
    ],
)
def test_mistakes_are_refused_in_one_line(override, words):
    with pytest.raises(ConfigError, match=words) as caught:
        configs.compose([override])
    assert "\n" not in str(caught.value)


def test_length_is_given_once():
    config = configs.compose(["training.d_steps=11", "training.n_disc=5"])
    assert config.training.g_steps == 3
    with pytest.raises(ConfigError, match="both set"):
        configs.compose(["training.d_steps=11", "training.steps=5"])


def test_saved_configs_come_back_equal(tmp_path: Path):
    config = configs.compose(["loss=ls", "optimizer.lr=1e-4", "evaluator.metrics=[is]"])
    configs.save(config, tmp_path / "config.yaml")
    assert configs.load(tmp_path / "config.yaml") == config


def test_saved_configs_of_another_version_or_damaged_are_refused(tmp_path: Path):
    path = tmp_path / "config.yaml"
    with pytest.raises(ConfigError, match="is missing"):
        configs.load(path)
    configs.save(configs.compose(), path)
    path.write_text(path.read_text().replace("schema: 1", "schema: 99"))
    with pytest.raises(ConfigError, match="schema 99, this version reads 1"):
        configs.load(path)
    path.write_text("{ not: [yaml")
    with pytest.raises(ConfigError, match="can't be read"):
        configs.load(path)


def test_identity_leaves_out_where_and_how_a_run_is_executed():
    one = configs.identity(configs.compose(["training.steps=100", "device=cpu"]))
    same = ["training.d_steps=100", "training.log_every=7", "run_dir=x"]
    assert configs.identity(configs.compose(same)) == one
    other = configs.identity(configs.compose(["training.steps=101"]))
    assert configs.differences(one, other) == ["training.steps: 100 -> 101"]


def test_where_a_set_lies_matters_only_where_the_place_is_the_set():
    here, there = (
        [configs.identity(configs.compose([f"dataset={name}", f"dataset.root={root}"]))
         for root in ("a", "b")]
        for name in ("mnist", "image_files")
    )  # fmt: skip
    assert here[0] == here[1]
    assert there[0] != there[1]


def test_evaluator_of_a_finished_run_can_be_overridden():
    config = configs.compose(["evaluator.n_fake=77"])
    wanted = configs.override_evaluator(config, ["evaluator.split=train"])
    assert (wanted.n_fake, wanted.split) == (77, "train")
    assert configs.override_evaluator(config, ["evaluator=inception"]).extractor == "inception"
    with pytest.raises(ConfigError, match="only the evaluator"):
        configs.override_evaluator(config, ["loss=hinge"])
