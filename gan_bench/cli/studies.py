"""What is done with studies: sweep, status, cancel, report, demo."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from gan_bench import files
from gan_bench.cli.arguments import boolean, fields, flags, number
from gan_bench.errors import ConfigError
from gan_bench.terminal import (
    StudyPrinter,
    cost_table,
    status_table,
    study_table,
)

_WATCH_SECONDS = 2.0
_CLEAR = "\x1b[2J\x1b[H"


def sweep(arguments: Sequence[str]) -> None:
    """Run a study, or go on with it; with --dry-run say what it would be."""
    given, rest = flags(arguments, "--dry-run")
    own, overrides = fields(
        rest, "study", "engine", "study_dir", "retry_failed", "fork", "probe", "scale"
    )
    if "study" not in own and "study_dir" not in own:
        raise ConfigError(
            "sweep needs study=NAME (a file in sweeps/, or a path), or study_dir=DIR to go on "
            "with a study"
        )
    if "--dry-run" in given:
        _dry_run(own, overrides)
        return
    if "probe" in own:
        raise ConfigError("probe is for --dry-run only")
    _run_study(own, overrides)


def _dry_run(own: dict[str, str], overrides: list[str]) -> None:
    from gan_bench.sweep.cost import estimate
    from gan_bench.sweep.engines import engine_options

    options, overrides = _engine_fields(overrides)
    study, _ = _study(own, overrides)
    name, options = _engine(own.get("engine"), options, study)
    slots = getattr(engine_options(name, options), "slots", None) or 1
    costs = estimate(study, probe=boolean("probe", own.get("probe", "true")))
    print(cost_table(study, costs, name, slots))


def _run_study(own: dict[str, str], overrides: list[str]) -> None:
    from gan_bench.measure import baselines
    from gan_bench.report import write_report
    from gan_bench.sweep import build_engine, fork_study, run_study

    options, overrides = _engine_fields(overrides)
    study, folder = _study(own, overrides)
    name, options = _engine(own.get("engine"), options, study)
    retry = boolean("retry_failed", own.get("retry_failed", "false"))
    engine = build_engine(name, folder, options)
    if "fork" in own:
        taken, finished = fork_study(study, folder, Path(own["fork"]))
        print(f"{taken} of {finished} finished trials taken over", file=sys.stderr)
    summary = run_study(
        study,
        folder,
        engine=engine,
        engine_options=options,
        retry_failed=retry,
        on_event=StudyPrinter(),
    )
    path = folder / "baselines.json"
    if not path.exists():
        files.write_json(path, baselines(study.base_config()))
    known = files.read_json(path, what="baselines")
    print(study_table(study.objective, list(summary.best.values()), known))
    if summary.limited:
        print(f"not all trials were run: {summary.limited}")
    print(f"report: {write_report(folder)}")


def _study(own: dict[str, str], overrides: list[str]) -> tuple[Any, Path]:
    """Return the study and its directory."""
    from gan_bench.sweep import load_study, read_study

    if "study" in own:
        study = load_study(own["study"], overrides, scale=number("scale", own.get("scale", "1")))
        default = Path("results") / "studies" / study.name
        return study, Path(own["study_dir"]) if "study_dir" in own else default
    if overrides:
        raise ConfigError(
            f"'{overrides[0]}': to change a study that has begun, give its file too (study=NAME)"
        )
    folder = Path(own["study_dir"])
    return read_study(folder), folder


def _engine_fields(overrides: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Split off the options of the engine, `engine.FIELD=value`."""
    options = [text for text in overrides if text.startswith("engine.")]
    node = OmegaConf.from_dotlist([text.removeprefix("engine.") for text in options])
    plain = OmegaConf.to_container(node)
    assert isinstance(plain, dict)
    rest = [text for text in overrides if text not in options]
    return {str(key): value for key, value in plain.items()}, rest


def _engine(named: str | None, options: dict[str, Any], study: Any) -> tuple[str, dict[str, Any]]:
    """Return the engine's name and options, those that the study decides made numbers.

    `engine=` names an engine, or a YAML file that has a name and options, as has a study file.
    """
    from gan_bench.sweep.packing import resolve

    chosen = dict(study.engine)
    if named is not None and named.endswith((".yaml", ".yml")):
        try:
            chosen = files.read_yaml(Path(named), what="engine file", error=ConfigError)
        except FileNotFoundError:
            raise ConfigError(f"engine file {named} is missing") from None
    elif named is not None and named != study.engine.get("name"):
        chosen = {"name": named}
    name = str(chosen.pop("name", "inline"))
    return name, resolve(study, {**chosen, **options})


def status(arguments: Sequence[str]) -> None:
    """Print how a study stands; with --watch again and again, until it has ended."""
    from gan_bench.sweep import study_status

    given, rest = flags(arguments, "--watch")
    own, other = fields(rest, "study_dir")
    if "study_dir" not in own or other:
        raise ConfigError("status needs study_dir=DIR, and --watch to see it live")
    folder = Path(own["study_dir"])
    while True:
        found = study_status(folder)
        screen = "--watch" in given and sys.stdout.isatty()
        print((_CLEAR if screen else "") + status_table(found), flush=True)
        if "--watch" not in given or found.done >= found.study.total:
            return
        time.sleep(_WATCH_SECONDS)


def cancel(arguments: Sequence[str]) -> None:
    """Stop what runs of a study."""
    from gan_bench.sweep import cancel_study

    own, other = fields(arguments, "study_dir")
    if "study_dir" not in own or other:
        raise ConfigError("cancel needs study_dir=DIR and nothing else")
    left = cancel_study(Path(own["study_dir"]))
    print(f"nothing runs any more; {left} trials are begun and not finished")
    print(f"to go on: gan-bench sweep study_dir={own['study_dir']}")


def report(arguments: Sequence[str]) -> None:
    """Write a study's report, or that of several studies together."""
    from gan_bench.report import write_report

    own, rest = fields(arguments, "study_dir", "report_dir", "top")
    if "study_dir" not in own or rest:
        raise ConfigError(
            "report needs study_dir=DIR, or study_dir=DIR,DIR,... for one report of several; "
            "report_dir=DIR and top=0.05 are optional"
        )
    folders = [Path(name) for name in own["study_dir"].split(",") if name]
    to = Path(own["report_dir"]) if "report_dir" in own else None
    share = number("top", own.get("top", "0.05"))
    print(f"report: {write_report(folders, to, share=share)}")


def demo(arguments: Sequence[str]) -> None:
    """Run the demo study."""
    own, overrides = fields(arguments, "study_dir", "engine")
    _run_study({"study": "demo", **own}, overrides)
