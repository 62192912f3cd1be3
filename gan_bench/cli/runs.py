"""What is done with one run: train, evaluate, compare, analyze."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig

from gan_bench import config as configs
from gan_bench import files
from gan_bench.cli.arguments import fields
from gan_bench.errors import ConfigError, GanBenchError
from gan_bench.terminal import (
    EvaluationPrinter,
    RunPrinter,
    comparison_table,
    evaluation_table,
    metric_table,
)


def train(arguments: Sequence[str]) -> None:
    """Train and evaluate one GAN, or several with --multirun."""
    configs.load_plugins_of(arguments)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # else Hydra prints errors itself and exits with 1
    sys.argv = ["gan-bench train", *arguments]
    errors: list[GanBenchError] = []

    def job(composed: DictConfig) -> None:
        try:
            _train_one(composed)
        except GanBenchError as error:  # Hydra would add lines of its own, and drop later jobs
            errors.append(error)

    application = hydra.main(
        version_base="1.3", config_path=str(configs.resource_dir("conf")), config_name="config"
    )
    application(job)()
    if errors:
        raise errors[0]


def _train_one(composed: DictConfig) -> None:
    from gan_bench.run import prepare, train

    run_dir = prepare(configs.finish(composed))
    result = train(run_dir, RunPrinter())
    print(f"{result['status']}: {result['error'] or ''}".rstrip(": "))
    print(metric_table({"last": result["metrics"], "best": result["best"]}))
    print(f"run directory: {run_dir}")


def evaluate(arguments: Sequence[str]) -> None:
    """Evaluate a run, or a folder, zip or .npz of images."""
    own, overrides = fields(arguments, "run_dir", "images", "reference", "device", "checkpoint")
    if ("run_dir" in own) == ("images" in own):
        raise ConfigError(
            "evaluate needs run_dir=DIR, or images=PATH with dataset=NAME or reference=PATH"
        )
    device = own.get("device", "auto")
    progress = EvaluationPrinter()
    if "run_dir" in own:
        from gan_bench.measure import evaluate_run

        run_dir = Path(own["run_dir"])
        config = configs.load(run_dir / "config.yaml")
        wanted = configs.override_evaluator(config, overrides)
        which = own.get("checkpoint", "newest")
        metrics = evaluate_run(run_dir, wanted, device, which, progress)
    else:
        metrics = _evaluate_images(own, [*overrides, f"device={device}"], progress)
    print(evaluation_table(metrics), file=sys.stderr)
    print(json.dumps(files.plain(metrics), indent=2))


def _evaluate_images(
    own: Mapping[str, str], overrides: list[str], progress: EvaluationPrinter
) -> dict[str, Any]:
    from gan_bench.measure import evaluate_images

    def given(field: str) -> bool:
        return any(override.startswith(field) for override in overrides)

    if "reference" in own and not given("dataset=") and not given("evaluator="):
        overrides = ["evaluator=inception", *overrides]  # no data set, so no classifier of one
    config = configs.compose(overrides)
    # a protocol says how many; without one, all images are taken
    fixed = given("evaluator.n_fake=") or config.evaluator.n_real is not None
    return evaluate_images(
        Path(own["images"]),
        config,
        n=config.evaluator.n_fake if fixed else None,
        reference=Path(own["reference"]) if "reference" in own else None,
        progress=progress,
    )


def compare(arguments: Sequence[str]) -> None:
    """Print the difference of two runs, with its interval."""
    from gan_bench.measure import compare_runs

    own, overrides = fields(arguments, "run_dir", "against", "device", "checkpoint")
    if "run_dir" not in own or "against" not in own:
        raise ConfigError("compare needs run_dir=DIR against=DIR")
    first, second = Path(own["run_dir"]), Path(own["against"])
    config = configs.load(first / "config.yaml")
    if not any(override.startswith("evaluator.sets=") for override in overrides):
        overrides = [*overrides, "evaluator.sets=10"]
    wanted = configs.override_evaluator(config, overrides)
    found = compare_runs(
        first,
        second,
        wanted,
        own.get("device", "auto"),
        own.get("checkpoint", "newest"),
        EvaluationPrinter(),
    )
    print(comparison_table(found), file=sys.stderr)
    print(json.dumps(files.plain(found), indent=2))


def analyze(arguments: Sequence[str]) -> None:
    """Analyze a run's generator."""
    from gan_bench.analyses.run import analyze_run

    own, overrides = fields(arguments, "run_dir", "analysis", "device", "checkpoint", "seed")
    if "run_dir" not in own or "analysis" not in own:
        raise ConfigError("analyze needs run_dir=DIR and analysis=NAME")
    seed = own.get("seed", "0")
    if not seed.isdecimal():
        raise ConfigError(f"seed is '{seed}'; it must be a number, 0 or more")
    options: dict[str, Any] = {}
    for override in overrides:
        name, _, value = override.partition("=")
        if not name.startswith("analysis."):
            raise ConfigError(f"'{override}': only options of the analysis can be set")
        options[name.removeprefix("analysis.")] = value
    record = analyze_run(
        Path(own["run_dir"]),
        own["analysis"],
        options,
        seed=int(seed),
        device=own.get("device", "auto"),
        which=own.get("checkpoint", "newest"),
    )
    print(json.dumps(files.plain(record), indent=2))
