"""Small runs, and what it means that two of them are the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from gan_bench import config as configs
from gan_bench import files
from gan_bench.run import prepare
from gan_bench.training import checkpoint

SMALL = [
    "architecture.hidden=32", "latent.dim=8", "evaluator.n_fake=128", "evaluator.n_real=128",
    "evaluator.metrics=[fid,ms_ssim]", "training.batch_size=16", "device=cpu",
]  # fmt: skip
# odd intervals, so that checkpoints fall between log lines; every source of randomness
THOROUGH = [
    *SMALL, "training.steps=150", "training.n_disc=2", "training.log_every=7",
    "training.checkpoint_every=10", "training.evaluate_every=40", "training.sample_every=30",
    "training.ema_decay=0.9", "regularizer=gradient_penalty", "normalizer=spectral_norm",
]  # fmt: skip
TIMES = ("seconds", "images_per_second", "seconds_evaluate")


def make(run_dir: Path, *overrides: str) -> Path:
    return prepare(configs.compose([*overrides, f"run_dir={run_dir}"]))


def without_times(path: Path) -> list[dict[str, Any]]:
    lines = files.read_jsonl(path)
    return [{k: v for k, v in line.items() if k not in TIMES} for line in lines]


def assert_same_run(one: Path, other: Path) -> None:
    """All that a run leaves behind is equal to the bit, but for times."""
    for name in ("train.jsonl", "evaluations.jsonl"):
        assert without_times(one / name) == without_times(other / name)
    for grid in (one / "samples").iterdir():
        assert grid.read_bytes() == (other / "samples" / grid.name).read_bytes()
    for load in (checkpoint.load_newest, lambda folder: checkpoint.load(folder / "best.pt")):
        assert_equal(*(load(run / "checkpoints") for run in (one, other)))
    a, b = (json.loads((run / "result.json").read_text()) for run in (one, other))
    for result in (a, b):
        for key in ("trial_id", "seconds"):
            del result[key]
        del result["config"]["run_dir"]
        for part in ("metrics", "best"):
            result[part].pop("seconds_evaluate", None)
    assert a == b


def assert_equal(a: Any, b: Any, where: str = "") -> None:
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            if key not in ("seconds", "logged"):
                assert_equal(a[key], b[key], f"{where}.{key}")
    else:
        assert a == b, where
