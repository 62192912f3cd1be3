"""How much arithmetic a study is: floating-point operations of training, counted, not timed."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from gan_bench.config import Config
from gan_bench.interfaces import Dataset
from gan_bench.registry import DATASETS
from gan_bench.sweep.space import Settings
from gan_bench.sweep.study import Cell, Study
from gan_bench.training.step import discriminator_step, generator_step
from gan_bench.training.trainer import build_game

_BATCH = 2
_DRAWS = 64
"""Settings drawn from a space for the mean number of its steps."""


class FlopCounter(TorchDispatchMode):
    """Adds up what torch's own formulas say of each operation.

    torch's FlopCounterMode tracks modules by hooks, which gradient penalties can't run under.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        found = func(*args, **kwargs)
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.flops += int(formula(*args, **kwargs, out_val=found))
        return found


def step_flops(config: Config) -> tuple[float, float]:
    """Count the operations of one D step and one G step.

    Matrix products and convolutions, forward, backward and twice backward (gradient penalties); a
    multiplication and its addition are two. One step of each is run on a small batch on the CPU.

    Returns:
        (D step, G step) at the config's batch size.
    """
    return flops_of(config, DATASETS.from_config(config.dataset))


def flops_of(config: Config, dataset: Dataset) -> tuple[float, float]:
    """Count likewise for images of a data set that is at hand."""
    counts = []
    with torch.random.fork_rng():
        game = build_game(config, dataset, torch.device("cpu"))
        real = torch.rand(_BATCH, *dataset.image_shape) * 2 - 1
        for step in (lambda: discriminator_step(game, real), lambda: generator_step(game, _BATCH)):
            with FlopCounter() as counter:
                step()
            counts.append(counter.flops * config.training.batch_size / _BATCH)
    return counts[0], counts[1]


def cell_flops(study: Study, cell: Cell) -> tuple[float, float]:
    """Count what all trials of a cell take.

    Returns:
        Operations of training, and D steps, over all settings and seeds.
    """
    config = study.typical_config(cell)
    d_step, g_step = step_flops(config)
    rng = np.random.default_rng(0)
    fixed, searched = study.trials_of(cell)
    drawn = [cell.space.sample(rng) for _ in range(_DRAWS)] if searched else []
    flops = d_steps = 0.0
    for settings, trials in ((cell.fixed, fixed), (drawn, searched)):
        if settings:
            lengths = np.array([_lengths(config, each) for each in settings]).mean(axis=0)
            flops += trials * float(lengths @ (d_step, g_step))
            d_steps += trials * float(lengths[0])
    return flops, d_steps


def _lengths(config: Config, settings: Settings) -> tuple[float, float]:
    """Return (D steps, G steps) of a trial with these settings."""
    n_disc = settings.get("training.n_disc", config.training.n_disc)
    if config.training.d_steps is None:
        return config.training.g_steps * n_disc, config.training.g_steps
    g_steps = -(-config.training.d_steps // n_disc)
    return g_steps * n_disc, g_steps
