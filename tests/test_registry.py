"""Registries: names, options, Hydra nodes, and entries from outside the package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from gan_bench.errors import ConfigError
from gan_bench.registry import REGISTRIES, Registry, load_plugin_file

OUTSIDE = '''
from torch import Tensor
from gan_bench.registry import LOSSES

@LOSSES.register("margin_{n}", aliases=("mg_{n}",), source="nobody's paper, eq. 1")
class Margin:
    """Pushes the logits apart by a margin."""

    def __init__(self, *, margin: float = 2.0) -> None:
        self.margin = margin

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """Difference of the means."""
        return (self.margin - real_logits + fake_logits).relu().mean()

    def generator(self, fake_logits: Tensor) -> Tensor:
        """Minus the mean."""
        return -fake_logits.mean()
'''


def make() -> Registry:
    registry: Registry = Registry("part", hydra_group=False)

    @registry.register("round_part", aliases=("rp",), source="a paper")
    def build(shape: int = 1, *, radius: float = 1.0, name_of: str | None = None):
        """A round part."""
        return shape, radius, name_of

    return registry


def test_build_by_name_and_alias():
    registry = make()
    assert registry.build("round_part", shape=3) == registry.build("rp", shape=3) == (3, 1.0, None)


def test_describe_says_what_where_from_and_options():
    assert make().describe("rp") == "A round part. [a paper] (radius=1.0, name_of=None)"


def test_unknown_names_and_options_name_the_nearest():
    registry = make()
    with pytest.raises(ConfigError, match="unknown part 'roundpart'; did you mean 'round_part'"):
        registry.build("roundpart")
    with pytest.raises(ConfigError, match="option of part round_part 'radios'.*'radius'"):
        registry.build("rp", radios=2)
    with pytest.raises(ConfigError, match="option of part round_part 'radios'.*'radius'"):
        registry.normalize({"name": "rp", "radios": 2})


def test_normalize_fills_in_defaults_and_converts_types():
    full = {"name": "round_part", "radius": 2.0, "name_of": None}
    assert make().normalize({"name": "rp", "radius": "2"}) == full
    with pytest.raises(ConfigError, match="radius.*'wide'.*Float"):
        make().normalize({"name": "rp", "radius": "wide"})


def test_registering_twice_or_without_documentation_is_refused():
    registry = make()
    with pytest.raises(ValueError, match="registered already"):
        registry.register("rp")(lambda: None)
    with pytest.raises(TypeError, match="docstring"):
        registry.register("other")(lambda: None)

    def untyped(*, radius=1.0):
        """A part."""

    with pytest.raises(TypeError, match="radius.*type and a default"):
        registry.register("other")(untyped)


@pytest.mark.parametrize(
    ("kind", "name"), [(k, n) for k, r in REGISTRIES.items() for n in r.names()]
)
def test_every_entry_is_documented(kind, name):
    entry = REGISTRIES[kind].entry(name)
    assert entry.description.endswith("."), "the first line of the docstring is a sentence"
    assert REGISTRIES[kind].normalize({"name": name}) == {"name": name, **entry.options}


def test_names_and_aliases_of_the_contract():
    names = {
        "loss": "non_saturating minimax least_squares wasserstein hinge ns mm ls wgan",
        "regularizer": "none gradient_penalty dragan l2 r1 weight_clipping gp dr",
        "normalizer": "none batch_norm layer_norm spectral_norm bn ln sn",
        "architecture": "mlp dcgan sndcgan resnet19 resnet_cifar resnet_stl infogan",
        "dataset": "digits mnist fashion_mnist cifar10 svhn celeba celeba_hq lsun_bedroom "
        "image_files",
    }
    for kind, listed in names.items():
        for name in listed.split():
            assert REGISTRIES[kind].canonical(name) in REGISTRIES[kind].names()


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gan_bench", *arguments],
        capture_output=True, text=True, env={**os.environ, **environment}, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_a_loss_from_one_file_outside_is_a_hydra_choice_and_trains(tmp_path: Path):
    file = tmp_path / "my_loss.py"
    file.write_text(OUTSIDE.replace("{n}", "a"))
    done = run(
        "train", f"plugins=[{file}]", "loss=mg_a", "loss.margin=3", "training.steps=2",
        "evaluator.n_fake=64", "evaluator.metrics=[ms_ssim]", f"run_dir={tmp_path / 'run'}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["status"] == "completed"
    assert result["config"]["loss"] == {"name": "margin_a", "margin": 3.0}
    misspelt = run("train", f"plugins=[{file}]", "loss=margin_a", "loss.margn=3")
    assert misspelt.returncode == 2 and "margn" in misspelt.stderr


def test_a_loss_from_an_installed_package_is_listed(tmp_path: Path):
    """What pip leaves behind: a module, and metadata with the entry point."""
    (tmp_path / "outside_loss.py").write_text(OUTSIDE.replace("{n}", "b"))
    metadata = tmp_path / "outside_loss-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: outside-loss\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        textwrap.dedent("""\
            [gan_bench.plugins]
            outside = outside_loss
            broken = no_such_module
            """)
    )
    done = run("list", "--json", PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    listed = json.loads(done.stdout)["loss"]["margin_b"]
    assert listed["options"] == {"margin": 2.0} and listed["aliases"] == ["mg_b"]
    assert "broken" in done.stderr and "Traceback" not in done.stderr


def test_plugin_files_that_cannot_be_imported_are_named(tmp_path: Path):
    with pytest.raises(ConfigError, match="no Python file"):
        load_plugin_file(tmp_path / "missing.py")
    file = tmp_path / "bad.py"
    file.write_text("import nothing_of_that_name")
    with pytest.raises(ConfigError, match="bad.py can't be imported: ModuleNotFoundError"):
        load_plugin_file(file)
