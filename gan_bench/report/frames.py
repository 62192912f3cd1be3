"""The tables as pandas frames: one row a trial, one row a cell; full precision, machine names."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from gan_bench.errors import StudyError
from gan_bench.report.aggregate import Cell, Part, medians, split_parts
from gan_bench.report.naming import FAMILIES, family
from gan_bench.report.study import Study, read_study
from gan_bench.report.trial import Trial


def compare_cells(study_dir: Path) -> pd.DataFrame:
    """Return the per-cell table of a study, one row a cell, best first.

    Args:
        study_dir: A study directory.

    Returns:
        Counts, best, top 5% (count, median, lowest, highest), the best setting's median over its
        seeds, then metrics, steps and settings of the cell's best trial.

    Raises:
        StudyError: There is no such study, or its trials were measured under several protocols.

    Example:
        >>> compare_cells(Path("results/studies/loss"))[["cell", "best"]]  # doctest: +SKIP
    """
    parts = split_parts(read_study(study_dir))
    if len(parts) > 1:
        named = " and ".join(f"'{part.protocol}' (data set {part.dataset})" for part in parts)
        raise StudyError(
            f"{study_dir} holds trials measured under {named}: they can't stand in one table; "
            "the report gives one table for each"
        )
    return cells_frame(parts[0])


def cells_frame(part: Part) -> pd.DataFrame:
    """Return the per-cell table of a part, machine names as columns, full precision."""
    rows = [_cell_row(cell, part) for cell in part.cells]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return _frame(rows, columns)


def _cell_row(cell: Cell, part: Part) -> dict[str, Any]:
    top = medians(cell.top)
    setting, best = cell.best_setting, cell.best
    row: dict[str, Any] = {"cell": cell.name}
    row |= {f"axes.{name}": _scalar(value) for name, value in cell.axes.items()}
    row |= {
        "objective": part.objective.metric,
        "trials": len(cell.trials),
        "completed": cell.count("completed"),
        "stopped": cell.count("stopped"),
        "diverged": cell.count("diverged"),
        "failed": cell.count("failed"),
        "unreadable": cell.count("unreadable"),
        "unfinished": cell.unfinished,
        "n_settings": cell.n_settings,
        "best": best.objective if best else None,
        "top5_count": len(top),
        "top5_median": statistics.median(top) if top else None,
        "top5_min": min(top, default=None),
        "top5_max": max(top, default=None),
        "setting_median": setting.median if setting else None,
        "setting_seeds": setting.seeds if setting else None,
        "setting_diverged": setting.diverged if setting else None,
    }
    measured = best.measured(part.objective) if best else {}
    row |= {f"best.{key}": measured.get(key) for key in metric_keys(part)}
    row |= {
        "best_trial_id": best.trial_id if best else None,
        "best_step": best.best_step if best else None,
        "g_steps": best.counts.get("g_steps") if best else None,
        "d_steps": best.counts.get("d_steps") if best else None,
        "settings": json.dumps(best.settings, sort_keys=True, default=str) if best else None,
        "dataset": part.dataset,
        "protocol": part.protocol,
    }
    return row


def metric_keys(part: Part) -> list[str]:
    """Return the metrics of the cells' best trials that the tables show, in a fixed order."""
    found = {
        key
        for cell in part.cells
        if cell.best
        for key in cell.best.measured(part.objective)
        if key != part.objective.metric
    }
    known = [(list(FAMILIES).index(family(key) or ""), key) for key in found if family(key)]
    return [key for _, key in sorted(known)]


def trials_frame(study: Study) -> pd.DataFrame:
    """Return one row a trial, in the order in which they were proposed."""
    fixed = [
        "trial_id", "cell", "seed", "source", "index", "status", "objective", "best_step",
        "g_steps", "d_steps", "images_seen", "seconds.train", "seconds.evaluate",
        "dataset", "protocol", "device", "error",
    ]  # fmt: skip
    rows = [_trial_row(trial) for trial in study.trials]
    keys = {key for row in rows for key in row} - set(fixed)

    def chosen(prefix: str) -> list[str]:
        return sorted(key for key in keys if key.startswith(f"{prefix}."))

    order = (
        fixed[:2] + chosen("axes") + chosen("settings") + fixed[2:8]
        + chosen("best") + chosen("final") + fixed[8:]
    )  # fmt: skip
    return _frame(rows, order)


def _trial_row(trial: Trial) -> dict[str, Any]:
    row: dict[str, Any] = {
        "trial_id": trial.trial_id,
        "cell": trial.cell,
        "seed": trial.seed,
        "source": trial.source,
        "index": trial.index,
        "status": trial.status,
        "objective": trial.objective,
        "best_step": trial.best_step,
        "dataset": trial.dataset,
        "protocol": trial.protocol,
        "device": trial.device,
        "error": trial.error,
    }
    row |= {f"axes.{key}": _scalar(value) for key, value in trial.axes.items()}
    row |= {f"settings.{key}": _scalar(value) for key, value in trial.settings.items()}
    row |= {f"best.{key}": value for key, value in trial.best.items()}
    row |= {f"final.{key}": value for key, value in trial.final.items()}
    row |= {key: trial.counts.get(key) for key in ("g_steps", "d_steps", "images_seen")}
    row |= {f"seconds.{key}": trial.seconds.get(key) for key in ("train", "evaluate")}
    return row


def _scalar(value: Any) -> Any:
    return json.dumps(value, sort_keys=True) if isinstance(value, (dict, list)) else value


def _frame(rows: list[dict[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    """Build a frame in which integers stay integers where some are missing (not 1.0)."""
    data: dict[str, Any] = {}
    for name in columns:
        column = [row.get(name) for row in rows]
        present = [item for item in column if item is not None]
        whole = bool(present) and all(type(item) is int for item in present)
        data[name] = pd.array(column, dtype="Int64") if whole else column
    return pd.DataFrame(data, columns=pd.Index(columns))
