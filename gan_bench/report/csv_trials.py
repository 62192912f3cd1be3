"""Trials from the trials.csv of a report, which can so be made again without the runs."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

from gan_bench.errors import StudyError
from gan_bench.report.trial import Trial

FILE = "trials.csv"
_COUNTS = ("g_steps", "d_steps", "images_seen")
_REQUIRED = ("trial_id", "cell", "status", "objective")


def read_csv(folder: Path) -> list[Trial]:
    """Read the trials.csv of a folder.

    Raises:
        StudyError: A column that every such table has is missing.
    """
    path = folder / FILE
    with path.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        missing = [name for name in _REQUIRED if name not in (reader.fieldnames or ())]
        if missing:
            raise StudyError(f"{path} has no column {missing[0]}; it is no table of trials")
        return [_trial({k: v for k, v in row.items() if v}, folder) for row in reader]


def _trial(row: dict[str, str], folder: Path) -> Trial:
    def numbers(prefix: str) -> dict[str, float]:
        found = {key: _value(text) for key, text in _below(row, prefix).items()}
        return {key: float(v) for key, v in found.items() if isinstance(v, (int, float))}

    def integer(name: str) -> int | None:
        return int(float(row[name])) if name in row else None

    objective = _value(row["objective"]) if "objective" in row else None
    known = isinstance(objective, (int, float)) and math.isfinite(objective)
    return Trial(
        trial_id=row["trial_id"],
        cell=row["cell"],
        axes={key: _value(text) for key, text in _below(row, "axes").items()},
        settings={key: _value(text) for key, text in _below(row, "settings").items()},
        source=row.get("source"),
        index=integer("index"),
        seed=integer("seed"),
        overrides=(),
        folder=folder / "trials" / row["trial_id"],
        status=row["status"],
        objective=float(row["objective"]) if known else None,
        error=row.get("error"),
        final=numbers("final"),
        best=numbers("best"),
        best_step=integer("best_step"),
        counts={name: count for name in _COUNTS if (count := integer(name)) is not None},
        seconds=numbers("seconds"),
        protocol=row.get("protocol"),
        dataset=row.get("dataset"),
        device=row.get("device"),
    )


def _below(row: dict[str, str], prefix: str) -> dict[str, str]:
    start = f"{prefix}."
    return {key.removeprefix(start): v for key, v in row.items() if key.startswith(start)}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
