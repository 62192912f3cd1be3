"""Scales a study down evenly: shorter trainings, fewer images and settings, and another name.

A study at scale 0.01 shows whether everything works, and what a paper's design would find at a
hundredth of its length; its figures are those of another study, and its name says so.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, TypeVar

from gan_bench.config import Config
from gan_bench.errors import ConfigError, require
from gan_bench.registry import DATASETS
from gan_bench.sweep.space import render
from gan_bench.sweep.study import Study, key_of

T = TypeVar("T")

LEAST_IMAGES = 100
"""Images that are evaluated however small the scale, where there are so many."""
_INTERVALS = ("log_every", "checkpoint_every", "sample_every", "evaluate_every")
_SCALED = (
    *(f"training.{name}" for name in ("steps", "d_steps", "images", *_INTERVALS)),
    "evaluator.n_fake",
    "evaluator.n_real",
)


def scale_study(study: Study, scale: float) -> Study:
    """Return a study at a share of its size.

    Training steps (and the steps between evaluations, so that there are as many), training images,
    evaluated images, fixed settings (evenly spaced ones), searched settings, budget and the steps
    of early stopping are multiplied by the scale and rounded, at least 1 of each; evaluated images
    at least 100, training images at least a batch. Seeds, widths and ranges stay.

    Args:
        study: The study.
        scale: In (0, 1]; 1 returns the study itself.

    Raises:
        ConfigError: The scale is out of range, or cells set themselves what would be scaled.
        GanBenchError: The data set, whose size must be known, is not there.
    """
    require(0 < scale <= 1, f"scale is {scale}; it must be above 0 and at most 1")
    if scale == 1:
        return study
    for cell in study.cells:
        for override in cell.overrides:
            if key_of(override) in _SCALED:
                raise ConfigError(
                    f"cell {cell.name} sets {override}: scale can't shorten it evenly"
                )
    lengths = _lengths(study.base_config(), scale)
    base = [override for override in study.base if key_of(override) not in lengths]
    bandit, budget, halving = study.bandit, study.budget, study.early_stopping
    trials = math.ceil(scale * bandit.trials)
    scaled = dataclasses.replace(
        study,
        name=f"{study.name}_scale{scale:g}",
        base=[*base, *(render(key, value) for key, value in lengths.items())],
        cells=[
            dataclasses.replace(cell, fixed=evenly(cell.fixed, math.ceil(scale * len(cell.fixed))))
            for cell in study.cells
        ],
        bandit=dataclasses.replace(bandit, trials=trials, batch=max(1, min(bandit.batch, trials))),
        budget=dataclasses.replace(
            budget,
            trials=None if budget.trials is None else math.ceil(scale * budget.trials),
            gpu_hours=None if budget.gpu_hours is None else scale * budget.gpu_hours,
            wall_hours=None if budget.wall_hours is None else scale * budget.wall_hours,
        ),
        early_stopping=None
        if halving is None
        else dataclasses.replace(halving, min_steps=_steps(halving.min_steps, scale)),
    )
    scaled.check()
    return scaled


def evenly(items: Sequence[T], count: int) -> list[T]:
    """Return so many of the items, evenly spaced, the first among them."""
    return [items[i * len(items) // count] for i in range(count)]


def _lengths(config: Config, scale: float) -> dict[str, Any]:
    """Return override key -> scaled value, of the lengths that the base config has."""
    training, evaluator = config.training, config.evaluator
    dataset = DATASETS.from_config(config.dataset)
    length = "steps" if training.d_steps is None else "d_steps"
    found = {
        f"training.{length}": _steps(getattr(training, length) or training.g_steps, scale),
        **{
            f"training.{name}": _steps(every, scale)
            for name in _INTERVALS
            if (every := getattr(training, name))
        },
    }
    count = training.images or len(dataset.split("train"))
    found["training.images"] = min(count, max(training.batch_size, round(scale * count)))
    reference = evaluator.n_real or len(dataset.split(evaluator.split))
    for name, images in (("n_real", reference), ("n_fake", evaluator.n_fake)):
        found[f"evaluator.{name}"] = max(round(scale * images), min(LEAST_IMAGES, images))
    return found


def _steps(count: int, scale: float) -> int:
    return max(1, round(scale * count))
