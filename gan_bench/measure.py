"""Evaluating generators: the evaluator of a config, a finished run, and a study's baselines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from gan_bench import config as configs
from gan_bench import files
from gan_bench.config import Config
from gan_bench.errors import CheckpointError, unknown
from gan_bench.evaluation import Evaluator
from gan_bench.evaluation.sources import open_source
from gan_bench.hardware import choose_device
from gan_bench.interfaces import Dataset
from gan_bench.registry import DATASETS
from gan_bench.samples import LatentSampler
from gan_bench.training import checkpoint
from gan_bench.training.trainer import build_networks, frozen, generator_weights


def build_evaluator(
    config: Config, dataset: Dataset, device: torch.device, n_generated: int | None = None
) -> Evaluator:
    """Build the evaluator of a config; its reference is computed at its first use.

    Args:
        config: The config.
        dataset: Its data set.
        device: Where the extractor runs.
        n_generated: Generated images; None: evaluator.n_fake.

    Raises:
        WeightsError: The extractor's weights can't be had.
        ConfigError: The data can't support what is asked for.
    """
    wanted = config.evaluator
    # a folder of images is registered under one name and called by another, its title
    own = wanted.extractor in (f"classifier:{config.dataset['name']}", f"classifier:{dataset.name}")
    return Evaluator(
        dataset.split(wanted.split),
        extractor=f"classifier:{dataset.name}" if own else wanted.extractor,
        dataset=dataset if own else None,
        weights_path=wanted.weights_path,
        device=device,
        split=wanted.split,
        metrics=wanted.metrics,
        n_reference=wanted.n_real,
        n_generated=wanted.n_fake if n_generated is None else n_generated,
        seed=wanted.seed,
        batch_size=wanted.batch_size,
    )


def evaluate_images(images: Path, config: Config, n: int | None = None) -> dict[str, Any]:
    """Evaluate a folder, zip or .npz of images against a config's data set.

    Args:
        images: The path.
        config: Its dataset, evaluator and device are used.
        n: Take this many of the images, at random; None: all.

    Raises:
        GanBenchError: The images, data or weights can't be used.
    """
    dataset: Dataset = DATASETS.from_config(config.dataset)
    count = len(open_source(images, "generated")) if n is None else n
    evaluator = build_evaluator(config, dataset, choose_device(config.device), count)
    return evaluator.run(images)


def load_generator(
    run_dir: Path, device: torch.device, which: str = "newest"
) -> tuple[Config, Dataset, nn.Module, int]:
    """Load a run's generator, ready to sample.

    Args:
        run_dir: The run directory.
        device: Where it is wanted.
        which: "newest" checkpoint, or the "best" that was evaluated.

    Returns:
        The run's config, its data set, the generator and its G step.

    Raises:
        CheckpointError: The run has no checkpoint that can be used.
        ConfigError: `which` is neither.
    """
    if which not in ("newest", "best"):
        raise unknown("checkpoint", which, ("newest", "best"))
    config = configs.load(run_dir / "config.yaml")
    folder = run_dir / "checkpoints"
    content = (
        checkpoint.load(folder / checkpoint.BEST, device)
        if which == "best"
        else checkpoint.load_newest(folder, device)
    )
    if content is None:
        raise CheckpointError(f"{run_dir} has no checkpoint yet; train it first")
    dataset = DATASETS.from_config(config.dataset)
    with torch.random.fork_rng():
        generator, _ = build_networks(config, dataset)
    try:
        generator.load_state_dict(generator_weights(content))
    except (RuntimeError, KeyError) as error:
        raise CheckpointError(
            f"the checkpoint in {run_dir} does not fit its config: {str(error).splitlines()[0]}"
        ) from None
    return config, dataset, frozen(generator.to(device)), int(content["step"])


def evaluate_run(
    run_dir: Path,
    evaluator: configs.EvaluatorConfig | None = None,
    device: str = "auto",
    which: str = "newest",
) -> dict[str, Any]:
    """Evaluate a run's checkpoint; the line is added to its evaluations.jsonl.

    Args:
        run_dir: The run directory.
        evaluator: What to measure; None: what the run's config says.
        device: auto, cpu, cuda or cuda:N.
        which: "newest" checkpoint, or the "best" that was evaluated.

    Raises:
        GanBenchError: The checkpoint, data or weights can't be used.
    """
    where = choose_device(device)
    config, dataset, generator, step = load_generator(run_dir, where, which)
    if evaluator is not None:
        config.evaluator = evaluator
    metrics = build_evaluator(config, dataset, where).run(LatentSampler(generator, config, where))
    record = {"step": step, "source": "evaluate", **metrics}
    files.append_jsonl(run_dir / "evaluations.jsonl", record)
    return record


def baselines(config: Config) -> dict[str, dict[str, Any]]:
    """Measure what a figure is to be read against, under the config's evaluator.

    Returns:
        "untrained": the metrics of the config's generator before training. "real": those of
        training images against the reference, the floor.
    """
    device = choose_device(config.device)
    dataset: Dataset = DATASETS.from_config(config.dataset)
    evaluator = build_evaluator(config, dataset, device)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        generator, _ = build_networks(config, dataset)
    untrained = evaluator.run(LatentSampler(frozen(generator.to(device)), config, device))
    floor = build_evaluator(
        config, dataset, device, min(config.evaluator.n_fake, len(dataset.split("train")))
    )
    real = floor.run(dataset.split("train"))
    return {"untrained": untrained, "real": real}
