"""Evaluating generators: the evaluator of a config, a finished run, and a study's baselines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from gan_bench import config as configs
from gan_bench import files
from gan_bench.config import Config
from gan_bench.errors import CheckpointError, require, unknown
from gan_bench.evaluation import Evaluator
from gan_bench.evaluation.evaluator import Progress
from gan_bench.evaluation.sources import open_source, split_source
from gan_bench.evaluation.uncertainty import paired_difference
from gan_bench.hardware import choose_device
from gan_bench.interfaces import Dataset
from gan_bench.overfitting import discriminator_accuracy
from gan_bench.registry import DATASETS
from gan_bench.samples import LatentSampler
from gan_bench.training import checkpoint
from gan_bench.training.trainer import build_networks, frozen, generator_weights


def build_evaluator(
    config: Config,
    dataset: Dataset,
    device: torch.device,
    *,
    n_generated: int | None = None,
    progress: Progress | None = None,
) -> Evaluator:
    """Build the evaluator of a config; its reference is computed at its first use.

    Args:
        config: The config.
        dataset: Its data set.
        device: Where the extractor runs.
        n_generated: Generated images; None: evaluator.n_fake.
        progress: Told how far each pass is.

    Raises:
        WeightsError: The extractor's weights can't be had.
        ConfigError: The data can't support what is asked for.
    """
    wanted = config.evaluator
    # a folder of images is registered under one name and called by another, its title
    own = wanted.extractor in (f"classifier:{config.dataset['name']}", f"classifier:{dataset.name}")
    return Evaluator(
        split_source(dataset, wanted.split),
        extractor=f"classifier:{dataset.name}" if own else wanted.extractor,
        dataset=dataset if own else None,
        n_generated=wanted.n_fake if n_generated is None else n_generated,
        quantized=wanted.quantize,
        progress=progress,
        **_options(config, device),
    )


def _options(config: Config, device: torch.device) -> dict[str, Any]:
    """Return what every evaluator of a config has."""
    wanted = config.evaluator
    return {
        "weights_path": wanted.weights_path,
        "device": device,
        "split": wanted.split,
        "metrics": wanted.metrics,
        "n_reference": wanted.n_real,
        "seed": wanted.seed,
        "batch_size": wanted.batch_size,
    }


def evaluate_images(
    images: Path,
    config: Config,
    *,
    n: int | None = None,
    reference: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Evaluate a folder, zip or .npz of images against real images.

    Args:
        images: The path.
        config: Its dataset, evaluator and device are used.
        n: Take this many of the images, at random, for each of evaluator.sets; None: all.
        reference: Folder, zip or .npz of real images, or .npz of published statistics; None: the
            config's data set.
        progress: Told how far each pass is.

    Raises:
        GanBenchError: The images, data or weights can't be used.
    """
    device = choose_device(config.device)
    sets = config.evaluator.sets
    count = len(open_source(images, "generated")) // sets if n is None else n
    if reference is None:
        dataset: Dataset = DATASETS.from_config(config.dataset)
        evaluator = build_evaluator(config, dataset, device, n_generated=count, progress=progress)
    else:
        evaluator = Evaluator(
            reference,
            extractor=config.evaluator.extractor,
            n_generated=count,
            quantized=config.evaluator.quantize,
            progress=progress,
            **{**_options(config, device), "split": reference.name},
        )
    return evaluator.run(images, sets)


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


def sampler(run_dir: Path | str, device: str = "auto", which: str = "newest") -> LatentSampler:
    """Return a finished run as a sampler for `gan_bench.evaluation.evaluate`.

    Args:
        run_dir: The run directory.
        device: auto, cpu, cuda or cuda:N.
        which: "newest" checkpoint, or the "best" that was evaluated.

    Raises:
        CheckpointError: The run has no checkpoint that can be used.
    """
    where = choose_device(device)
    config, _, generator, _ = load_generator(Path(run_dir), where, which)
    return LatentSampler(generator, config, where)


def evaluate_run(
    run_dir: Path,
    evaluator: configs.EvaluatorConfig | None = None,
    device: str = "auto",
    which: str = "newest",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Evaluate a run's checkpoint; the line is added to its evaluations.jsonl.

    Args:
        run_dir: The run directory.
        evaluator: What to measure; None: what the run's config says.
        device: auto, cpu, cuda or cuda:N.
        which: "newest" checkpoint, or the "best" that was evaluated.
        progress: Told how far each pass is.

    Raises:
        GanBenchError: The checkpoint, data or weights can't be used.
    """
    where = choose_device(device)
    config, dataset, generator, step = load_generator(run_dir, where, which)
    if evaluator is not None:
        config.evaluator = evaluator
    metrics = build_evaluator(config, dataset, where, progress=progress).run(
        LatentSampler(generator, config, where), config.evaluator.sets
    )
    if config.evaluator.discriminator_accuracy:
        discriminator = _load_discriminator(run_dir, config, dataset, where, which)
        metrics |= discriminator_accuracy(discriminator, generator, config, dataset, where)
    record = {"step": step, "source": "evaluate", **metrics}
    files.append_jsonl(run_dir / "evaluations.jsonl", record)
    return record


def _load_discriminator(
    run_dir: Path, config: Config, dataset: Dataset, device: torch.device, which: str
) -> nn.Module:
    if which == "best":
        raise CheckpointError(
            "best.pt holds the generator only, and the evaluator asks for D's accuracy: leave "
            "checkpoint=best out, or set evaluator.discriminator_accuracy=false"
        )
    content = checkpoint.load_newest(run_dir / "checkpoints", device)
    assert content is not None  # the generator came from it
    with torch.random.fork_rng():
        _, discriminator = build_networks(config, dataset)
    discriminator.load_state_dict(content["discriminator"])
    return discriminator.to(device).eval()


def compare_runs(
    first: Path,
    second: Path,
    evaluator: configs.EvaluatorConfig,
    device: str = "auto",
    which: str = "newest",
    progress: Progress | None = None,
) -> dict[str, dict[str, Any]]:
    """Evaluate two runs on paired sample sets.

    Args:
        first: A run directory.
        second: Another.
        evaluator: What to measure on both; `sets` is at least 2.
        device: auto, cpu, cuda or cuda:N.
        which: "newest" checkpoint, or the "best" that was evaluated.
        progress: Told how far each pass is.

    Returns:
        "first" and "second": the results; "difference": first minus second by figure, with its
        interval (see `gan_bench.evaluation.uncertainty`).

    Raises:
        ConfigError: There is one sample set only, or the runs' data differ.
        GanBenchError: A checkpoint, the data or the weights can't be used.
    """
    require(
        evaluator.sets >= 2,
        f"a comparison needs 2 sample sets or more, not {evaluator.sets}: set evaluator.sets=10",
    )
    results = [
        evaluate_run(run_dir, evaluator, device, which, progress) for run_dir in (first, second)
    ]
    return {
        "first": results[0],
        "second": results[1],
        "difference": paired_difference(*results),
    }


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
    sets = config.evaluator.sets
    untrained = evaluator.run(LatentSampler(frozen(generator.to(device)), config, device), sets)
    train = dataset.split("train")
    count = min(config.evaluator.n_fake, len(train) // sets)
    real = build_evaluator(config, dataset, device, n_generated=count).run(train, sets)
    return {"untrained": untrained, "real": real}
