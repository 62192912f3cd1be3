"""The command line: `gan-bench VERB [Hydra overrides]`.

Exit codes: 0 done; 1 an unexpected fault (traceback); 2 bad input (one clear line); 130
interrupted, with the state saved.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from gan_bench import __version__, files, listing
from gan_bench import config as configs
from gan_bench.errors import ConfigError, GanBenchError, unknown
from gan_bench.registry import REGISTRIES
from gan_bench.terminal import (
    EvaluationPrinter,
    RunPrinter,
    StudyPrinter,
    comparison_table,
    evaluation_table,
    metric_table,
    study_table,
)

USAGE = """\
gan-bench: compare GANs with statistics.

  gan-bench list [--json | --markdown]                what there is to choose from
  gan-bench train dataset=cifar10 loss=hinge ...      train and evaluate one GAN
  gan-bench train --multirun loss=hinge,wasserstein   several (hydra/sweeper=gan_bench: a study)
  gan-bench evaluate run_dir=DIR [checkpoint=best]    evaluate a run's newest (or best) checkpoint
  gan-bench evaluate images=PATH dataset=NAME         evaluate a folder, zip or .npz of images
  gan-bench evaluate images=PATH reference=PATH       ... against others, or published statistics
  gan-bench compare run_dir=DIR against=DIR           the difference of two runs, with its interval
  gan-bench analyze run_dir=DIR analysis=NAME         what a run's generator is like
  gan-bench sweep study=NAME [study_dir=DIR]          run a study, or go on with it
  gan-bench report study_dir=DIR                      write the study's report
  gan-bench demo                                      a small study on digits, and its report

After the verb come Hydra overrides; `gan-bench train --help` shows all fields.
An interrupted command goes on when it is started again."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help", "help"):
        print(USAGE)
        return 0
    if given[0] == "--version":
        print(__version__)
        return 0
    signal.signal(signal.SIGTERM, _interrupt)
    warnings.showwarning = _show_warning
    _show_log()
    verb, rest = given[0], given[1:]
    try:
        if verb not in VERBS:
            raise unknown("command", verb, VERBS)
        VERBS[verb](rest)
    except KeyboardInterrupt:
        print("gan-bench: interrupted; run the same command again to go on", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader has seen enough (gan-bench list | head)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (HydraException, OmegaConfBaseException) as error:
        return _bad_input(configs.explain(error, rest))
    except GanBenchError as error:
        return _bad_input(str(error))
    return 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"gan-bench: warning: {message}", file=sys.stderr)


def _show_log() -> None:
    """Print what the package logs (a classifier's training takes minutes) on standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    log = logging.getLogger("gan_bench")
    log.handlers = [handler]
    log.setLevel(logging.INFO)


def _bad_input(message: str) -> int:
    print(f"gan-bench: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _fields(arguments: Sequence[str], *names: str) -> tuple[dict[str, str], list[str]]:
    """Split `name=value` arguments into a command's own fields and the overrides."""
    own: dict[str, str] = {}
    overrides = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if equals and name in names:
            own[name] = value
        elif equals or argument.startswith("~"):
            overrides.append(argument)
        else:
            raise ConfigError(f"'{argument}' is no override; write it as field=value")
    return own, overrides


def _list(arguments: Sequence[str]) -> None:
    flags = [argument for argument in arguments if argument.startswith("-")]
    for flag in flags:
        if flag not in ("--json", "--markdown"):
            raise unknown("flag", flag, ("--json", "--markdown"))
    wanted = [argument for argument in arguments if argument not in flags]
    for kind in wanted:
        if kind not in REGISTRIES:
            raise unknown("kind of part", kind, REGISTRIES)
    chosen = [REGISTRIES[kind] for kind in wanted or REGISTRIES]
    if "--json" in flags:
        print(json.dumps(files.plain(listing.as_data(chosen)), indent=2))
    elif "--markdown" in flags:
        print(listing.as_markdown(chosen), end="")
    else:
        print(listing.as_text(chosen), end="")


def _train(arguments: Sequence[str]) -> None:
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


def _evaluate(arguments: Sequence[str]) -> None:
    own, overrides = _fields(arguments, "run_dir", "images", "reference", "device", "checkpoint")
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


def _compare(arguments: Sequence[str]) -> None:
    from gan_bench.measure import compare_runs

    own, overrides = _fields(arguments, "run_dir", "against", "device", "checkpoint")
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


def _analyze(arguments: Sequence[str]) -> None:
    from gan_bench.analyses.run import analyze_run

    own, overrides = _fields(arguments, "run_dir", "analysis", "device", "checkpoint", "seed")
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


def _sweep(arguments: Sequence[str]) -> None:
    own, overrides = _fields(arguments, "study", "engine", "study_dir", "retry_failed")
    if "study" not in own:
        raise ConfigError("sweep needs study=NAME (a file in sweeps/, or a path)")
    retry = own.get("retry_failed", "false").lower()
    if retry not in ("true", "false"):
        raise ConfigError(f"retry_failed is '{retry}'; use true or false")
    _run_study(
        own["study"],
        overrides,
        engine=own.get("engine", "inline"),
        study_dir=own.get("study_dir"),
        retry_failed=retry == "true",
    )


def _run_study(
    name: str,
    overrides: list[str],
    *,
    engine: str,
    study_dir: str | None,
    retry_failed: bool = False,
) -> None:
    from gan_bench.measure import baselines
    from gan_bench.report import write_report
    from gan_bench.sweep import build_engine, load_study, run_study

    study = load_study(name, overrides)
    folder = Path(study_dir) if study_dir else Path("results") / "studies" / study.name
    summary = run_study(
        study,
        folder,
        engine=build_engine(engine),
        retry_failed=retry_failed,
        on_event=StudyPrinter(),
    )
    path = folder / "baselines.json"
    if not path.exists():
        files.write_json(path, baselines(study.base_config()))
    known = files.read_json(path, what="baselines")
    print(study_table(study.objective, list(summary.best.values()), known))
    print(f"report: {write_report(folder)}")


def _report(arguments: Sequence[str]) -> None:
    from gan_bench.report import write_report

    own, rest = _fields(arguments, "study_dir")
    if "study_dir" not in own or rest:
        raise ConfigError("report needs study_dir=DIR and nothing else")
    print(f"report: {write_report(Path(own['study_dir']))}")


def _demo(arguments: Sequence[str]) -> None:
    own, overrides = _fields(arguments, "study_dir")
    _run_study("demo", overrides, engine="inline", study_dir=own.get("study_dir"))


VERBS: dict[str, Callable[[Sequence[str]], None]] = {
    "list": _list,
    "train": _train,
    "evaluate": _evaluate,
    "compare": _compare,
    "analyze": _analyze,
    "sweep": _sweep,
    "report": _report,
    "demo": _demo,
}
