"""How many trials a device is given at a time: `engine.trials_per_device=auto`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch

from gan_bench.hardware import choose_device
from gan_bench.registry import DATASETS
from gan_bench.sweep.study import Cell, Study
from gan_bench.training.trainer import build_networks

AUTO = "auto"
TOGETHER = 12
"""Trials of a worker. Of more, each gains little and all wait for the longest."""
SMALL = 100_000
"""Parameters of G and D up to which stacking pays: above, a step is arithmetic, not overhead
(`python -m benchmarks.packing`)."""


def resolve(study: Study, options: Mapping[str, Any]) -> dict[str, Any]:
    """Replace `trials_per_device=auto` among an engine's options by numbers.

    Small networks are stacked; on a CPU each core then has a worker of its own with one thread,
    where those are not set. Others train one by one.

    Raises:
        ConfigError: The study's device is not there, or a config is refused.
        DataError: Its data set is missing.
    """
    found = dict(options)
    if found.get("trials_per_device") != AUTO:
        return found
    found["trials_per_device"] = 1
    if all(parameters(study, cell) <= SMALL for cell in study.cells):
        cores = len(os.sched_getaffinity(0))
        if choose_device(study.base_config().device).type == "cpu":
            found = {"slots": cores, "threads": 1, **found}
        workers = found.get("slots") or 1
        found["trials_per_device"] = max(1, min(TOGETHER, -(-study.total // workers)))
    return found


def parameters(study: Study, cell: Cell) -> int:
    """Count the parameters of a cell's networks."""
    config = study.typical_config(cell)
    with torch.random.fork_rng():
        networks = build_networks(config, DATASETS.from_config(config.dataset))
    return sum(weight.numel() for network in networks for weight in network.parameters())
