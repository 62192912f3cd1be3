"""What a study will cost: its arithmetic counted; a few steps and images timed, multiplied out."""

from __future__ import annotations

import dataclasses
import math
import time

import torch

from gan_bench.config import Config
from gan_bench.hardware import choose_device, cpu_threads
from gan_bench.measure import build_evaluator
from gan_bench.registry import DATASETS
from gan_bench.samples import LatentSampler
from gan_bench.sweep.arithmetic import cell_flops
from gan_bench.sweep.study import Study
from gan_bench.training.trainer import Trainer

_SECONDS = 2.0
"""How long steps are timed, after one to warm up."""
_IMAGES = 128


@dataclasses.dataclass(frozen=True)
class CellCost:
    """What the trials of one cell are estimated to take, one after the other on this device."""

    cell: str
    fixed: int
    """Trials of fixed settings, over all seeds."""
    searched: int
    seconds_per_step: float | None
    """Of G; None: not timed."""
    seconds_per_evaluation: float | None
    """Passing n_fake images through generator and extractor; without the metrics' own time."""
    hours_per_trial: float | None
    flops: float
    """Floating-point operations of training all its trials; see `arithmetic`."""
    d_steps: float
    """D steps of all its trials."""

    @property
    def trials(self) -> int:
        """How many trials there are."""
        return self.fixed + self.searched

    @property
    def hours(self) -> float | None:
        """Of all its trials."""
        return None if self.hours_per_trial is None else self.trials * self.hours_per_trial


def estimate(study: Study, *, probe: bool = True) -> list[CellCost]:
    """Estimate what the cells of a study take.

    Args:
        study: The study.
        probe: Whether to train each cell for some seconds on this machine; else nothing is timed.

    Raises:
        GanBenchError: The data, weights or device that the trials need are not there.
    """
    costs = []
    evaluation: float | None = None
    for cell in study.cells:
        step = hours = None
        if probe:
            config = study.typical_config(cell)
            step, seconds = _time(config, evaluation is None)
            evaluation = seconds if evaluation is None else evaluation
            hours = _hours(config, step, evaluation or 0.0)
        counts = study.trials_of(cell)
        costs.append(
            CellCost(cell.name, *counts, step, evaluation, hours, *cell_flops(study, cell))
        )
    return costs


def _hours(config: Config, step: float, evaluation: float) -> float:
    steps, every = config.training.g_steps, config.training.evaluate_every
    evaluations = math.ceil(steps / every) if every else 1
    return (steps * step + evaluations * config.evaluator.sets * evaluation) / 3600


def _time(config: Config, evaluation: bool) -> tuple[float, float | None]:
    """Return the seconds of a step, and of an evaluation if that is wanted."""
    device = choose_device(config.device)
    dataset = DATASETS.from_config(config.dataset)
    with cpu_threads(config.threads), torch.random.fork_rng():
        trainer = Trainer(config, dataset, device)
        try:
            trainer.advance(1)
            _wait_for(device)
            start = time.perf_counter()
            while time.perf_counter() - start < _SECONDS:
                trainer.advance(trainer.step + 1)
                _wait_for(device)
            step = (time.perf_counter() - start) / (trainer.step - 1)
            if not evaluation:
                return step, None
            extractor = build_evaluator(config, dataset, device).extractor
            sampler = LatentSampler(trainer.snapshot(), config, device)
            n = min(_IMAGES, config.evaluator.n_fake)
            start = time.perf_counter()
            images = sampler(n)
            if extractor is not None:
                extractor(images)
            _wait_for(device)
            return step, (time.perf_counter() - start) / n * config.evaluator.n_fake
        finally:
            trainer.close()


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
