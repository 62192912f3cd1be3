"""Reads a study directory: its plan, its log of trials and what each trial left behind.

The log (`trials.jsonl`) says which trials there are and how they ended; `result.json` of a trial
says what was measured and under which protocol. A trial whose result can't be read is kept and
named, but never ranked: without its protocol nobody can say what its figure may be compared with.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gan_bench import files
from gan_bench.errors import GanBenchError, StudyError
from gan_bench.report.csv_trials import FILE as CSV
from gan_bench.report.csv_trials import read_csv
from gan_bench.report.lenient import integer, mapping, number, numbers, strings, text
from gan_bench.report.method import method_of
from gan_bench.report.trial import CellPlan, Objective, Trial

SCHEMA = 1
BASELINES = ("untrained", "real")
FINISHED = ("completed", "stopped", "diverged", "failed")


@dataclass
class Study:
    """A study directory, read."""

    folder: Path
    name: str
    objective: Objective
    base: tuple[str, ...]
    cells: list[CellPlan]
    trials: list[Trial]
    baselines: dict[str, dict[str, Any]]
    problems: list[str]
    """What could not be read, a sentence each."""


def read_study(folder: Path) -> Study:
    """Read a study directory; what single trials lack is noted, not raised.

    Args:
        folder: Holds `study.yaml`; `trials.jsonl`, `trials/` and `baselines.json` may be missing.
            In place of the first two there may be the `trials.csv` of a report.

    Raises:
        StudyError: The folder or its `study.yaml` is missing or unreadable.
    """
    plan = _read_plan(folder)
    objective = _objective(plan, folder)
    problems: list[str] = []
    if (folder / CSV).exists() and not (folder / "trials.jsonl").exists():
        trials = read_csv(folder)  # the table of a report whose runs lie elsewhere
    else:
        trials = _read_log(folder, problems)
        for trial in trials:
            _add_result(trial, objective, problems)
    return Study(
        folder=folder,
        name=str(plan.get("name") or folder.resolve().name),
        objective=objective,
        base=strings(plan.get("base")),
        cells=_cell_plans(plan.get("cells")),
        trials=trials,
        baselines=_read_baselines(folder, problems),
        problems=problems,
    )


def _read_plan(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise StudyError(f"{folder} is no study directory: there is no such folder")
    path = folder / "study.yaml"
    if not path.is_file():
        raise StudyError(f"{folder} is no study directory: it has no study.yaml")
    plan = files.read_yaml(path, what="study", error=StudyError)
    schema = plan.get("schema", SCHEMA)
    if schema != SCHEMA:
        raise StudyError(
            f"{path} has schema {schema}, this version reads {SCHEMA}; "
            "use the version of gan_bench that wrote it"
        )
    return plan


def _objective(plan: dict[str, Any], folder: Path) -> Objective:
    given = mapping(plan.get("objective"))
    metric = given.get("metric")
    mode, at = given.get("mode", "min"), given.get("at", "best")
    if not isinstance(metric, str) or mode not in ("min", "max") or at not in ("best", "final"):
        raise StudyError(
            f"{folder / 'study.yaml'} has no usable objective: it needs a metric, "
            "mode min or max, at best or final"
        )
    return Objective(metric, mode, at)


def _cell_plans(given: Any) -> list[CellPlan]:
    plans = []
    for item in given if isinstance(given, list) else []:
        if isinstance(item, str):
            plans.append(CellPlan(item))
        elif isinstance(item, Mapping) and "name" in item:
            axes = mapping(item.get("axes"))
            plans.append(CellPlan(str(item["name"]), axes, strings(item.get("overrides"))))
    return plans


def _read_log(folder: Path, problems: list[str]) -> list[Trial]:
    trials: dict[str, Trial] = {}
    orphans: set[str] = set()
    for record in files.read_jsonl(folder / "trials.jsonl"):
        trial_id, event = record.get("trial_id"), record.get("event")
        # The id names a folder below trials/: anything that points elsewhere is no id.
        if not isinstance(trial_id, str) or not trial_id or Path(trial_id).name != trial_id:
            continue
        if event == "proposed":
            if trial_id not in trials:
                trials[trial_id] = _proposed(trial_id, record, folder)
        elif trial_id not in trials:
            orphans.add(trial_id)
        elif event == "submitted":
            # A trial that is submitted again (a retried failure) is running again.
            trials[trial_id].status = "running"
            trials[trial_id].objective = trials[trial_id].error = None
        elif event == "interrupted":
            trials[trial_id].status = "proposed"
        elif event == "finished":
            trial = trials[trial_id]
            trial.status = str(record.get("status"))
            trial.objective = number(record.get("objective"))
            trial.error = text(record.get("error"))
    for trial_id in sorted(orphans - set(trials)):
        problems.append(
            f"trial {trial_id}: the log has no readable line that proposes it; it is left out"
        )
    return list(trials.values())


def _proposed(trial_id: str, record: dict[str, Any], folder: Path) -> Trial:
    return Trial(
        trial_id=trial_id,
        cell=str(record.get("cell") or "(no cell)"),
        axes=mapping(record.get("axes")),
        settings={k: v for k, v in mapping(record.get("settings")).items() if k != "seed"},
        source=text(record.get("source")),
        index=integer(record.get("index")),
        seed=integer(record.get("seed")),
        overrides=strings(record.get("overrides")),
        folder=folder / "trials" / trial_id,
    )


def _add_result(trial: Trial, objective: Objective, problems: list[str]) -> None:
    logged = trial.status
    path = trial.folder / "result.json"
    where = f"trials/{trial.trial_id}/result.json"
    if not path.exists():
        if logged == "completed":
            _unreadable(trial, f"{where} is missing", problems)
        return
    try:
        result = files.read_json(path, what="result")
        if not isinstance(result, dict):
            raise GanBenchError(f"result {path} is unreadable: it is no mapping")
    except GanBenchError as error:
        reason = str(error).replace(f"result {path}", where)
        if logged == "completed":
            _unreadable(trial, reason, problems)
        else:
            problems.append(f"trial {trial.trial_id}: {reason}")
        return
    _fill(trial, result)
    if logged not in FINISHED:
        # The trial wrote its result, but the driver did not live to log it.
        ended = result.get("status")
        trial.status = ended if ended in FINISHED else "running"
    measured = trial.measured(objective)
    value = measured.get(objective.key(measured))
    if trial.status == "completed" and trial.objective is None:
        trial.objective = value
        if value is None:
            problems.append(
                f"trial {trial.trial_id}: completed without a finite {objective.metric}; "
                "it is not ranked"
            )
    elif trial.ranked and value is not None and not math.isclose(
        value, trial.objective or 0.0, rel_tol=1e-6, abs_tol=1e-9
    ):  # fmt: skip
        problems.append(
            f"trial {trial.trial_id}: the log gives {objective.metric} {trial.objective:g}, "
            f"result.json {value:g}; the log's is used"
        )


def _unreadable(trial: Trial, reason: str, problems: list[str]) -> None:
    trial.status, trial.error = "unreadable", reason
    problems.append(f"trial {trial.trial_id}: {reason}; it is not ranked")


def _fill(trial: Trial, result: dict[str, Any]) -> None:
    final, best = mapping(result.get("metrics")), mapping(result.get("best"))
    trial.final, trial.best = _metrics(final), _metrics(best)
    trial.best_step = integer(best.get("step"))
    trial.facts = _facts(best) | _facts(final)
    trial.protocol = text(final.get("protocol") or best.get("protocol") or result.get("protocol"))
    trial.counts = {
        key: count
        for key, value in mapping(result.get("counts")).items()
        if (count := integer(value)) is not None
    }
    trial.seconds = _metrics(mapping(result.get("seconds")))
    trial.versions = {key: str(item) for key, item in mapping(result.get("versions")).items()}
    trial.device = text(result.get("device"))
    trial.error = trial.error or text(result.get("error"))
    trial.method = method_of(mapping(result.get("config")))
    trial.dataset = text(trial.method.get("dataset"))


def _read_baselines(folder: Path, problems: list[str]) -> dict[str, dict[str, Any]]:
    path = folder / "baselines.json"
    if not path.exists():
        return {}
    try:
        content = files.read_json(path, what="baselines")
    except GanBenchError as error:
        problems.append(str(error).replace(f"baselines {path}", "baselines.json"))
        return {}
    found = {}
    for name in BASELINES:
        metrics = mapping(mapping(content).get(name))
        if metrics:
            found[name] = mapping(metrics.get("metrics")) or metrics
    return found


def sample_grid(trial: Trial, step: int | None) -> tuple[int, Path] | None:
    """Return (step, file) of the sample grid of a step, or of the last one where it has none."""
    grids = step_files(trial.folder / "samples")
    if not grids:
        return None
    chosen = step if step in grids else max(grids)
    return chosen, grids[chosen]


def step_files(folder: Path) -> dict[int, Path]:
    """Return the `step_<number>.png` files of a folder by their step."""
    matches = ((re.fullmatch(r"step_(\d+)\.png", path.name), path) for path in folder.glob("*.png"))
    return {int(match.group(1)): path for match, path in matches if match}


def _metrics(record: Mapping[str, Any]) -> dict[str, float]:
    return {k: v for k, v in numbers(record).items() if k != "step" and not k.startswith("n_")}


def _facts(record: Mapping[str, Any]) -> dict[str, str]:
    # "precision" is a metric when it is a number and the float format when it is a word.
    return {
        str(key): str(value)
        for key, value in record.items()
        if key != "protocol" and (isinstance(value, str) or str(key).startswith("n_"))
    }
