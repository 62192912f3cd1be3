"""Every registered analysis on a trained run, as a user asks for it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from gan_bench import config as configs
from gan_bench import files
from gan_bench.analyses.run import analyze_run
from gan_bench.errors import CheckpointError, ConfigError
from gan_bench.registry import ANALYSES
from gan_bench.run import prepare, train

QUICK = {
    "jacobian_conditioning": {"latents": 4},
    "fractal_dimension": {"images": 400},
    "gilbo": {"steps": 20, "evaluation_pairs": 200},
}
"""Options that take little time; other analyses run with their defaults."""


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    overrides = [
        "architecture.hidden=32", "latent.dim=8", "evaluator.n_fake=64",
        "evaluator.n_real=64", "evaluator.metrics=[fid]", "training.batch_size=16",
        "training.steps=20", "device=cpu",
        f"run_dir={tmp_path_factory.mktemp('analyses') / 'run'}",
    ]  # fmt: skip
    made = prepare(configs.compose(overrides))
    assert train(made)["status"] == "completed"
    return made


@pytest.mark.parametrize("name", ANALYSES.names())
def test_figures_are_finite_recorded_and_the_seeds(name: str, run_dir: Path):
    options = QUICK.get(name, {})
    torch.manual_seed(4)
    before = torch.get_rng_state()
    first = analyze_run(run_dir, name, options, device="cpu")
    assert torch.equal(torch.get_rng_state(), before), "the caller's random state is its own"
    torch.rand(3)  # what the process did before does not matter
    again = analyze_run(run_dir, name, options, device="cpu", which="best")
    other = analyze_run(run_dir, name, options, device="cpu", seed=1)
    assert first["figures"] and all(math.isfinite(value) for value in first["figures"].values())
    assert again["figures"] == first["figures"] != other["figures"]
    assert first["options"].items() >= options.items()
    assert (first["analysis"], first["step"], first["seed"], other["seed"]) == (name, 20, 0, 1)
    lines = files.read_jsonl(run_dir / "analyses.jsonl")[-3:]
    assert lines == json.loads(json.dumps([first, again, other]))


def test_options_are_typed_and_named(run_dir: Path):
    """As text, as the command line has them."""
    record = analyze_run(run_dir, "jacobian_conditioning", {"latents": "2"}, device="cpu")
    assert record["options"] == {"latents": 2}
    with pytest.raises(ConfigError, match="did you mean 'latents'"):
        analyze_run(run_dir, "jacobian_conditioning", {"latent": 2}, device="cpu")
    with pytest.raises(ConfigError, match="latents: Value 'many'"):
        analyze_run(run_dir, "jacobian_conditioning", {"latents": "many"}, device="cpu")
    with pytest.raises(ConfigError, match="did you mean 'gilbo'"):
        analyze_run(run_dir, "gibo", device="cpu")


def test_a_run_without_checkpoint_is_refused(tmp_path: Path):
    made = prepare(configs.compose([f"run_dir={tmp_path / 'run'}"]))
    with pytest.raises(CheckpointError, match="no checkpoint"):
        analyze_run(made, "gilbo", device="cpu")
    assert not (made / "analyses.jsonl").exists()
