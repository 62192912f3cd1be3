"""Trials from the trials.csv of a report, which can so be made again without the runs."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from gan_bench.errors import StudyError
from gan_bench.report.lenient import integer, number, numbers
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
    def below(prefix: str) -> dict[str, Any]:
        start = f"{prefix}."
        named = {key.removeprefix(start): v for key, v in row.items() if key.startswith(start)}
        return {key: _value(text) for key, text in named.items()}

    def whole(name: str) -> int | None:
        return integer(_value(row.get(name, "")))

    return Trial(
        trial_id=row["trial_id"],
        cell=row["cell"],
        axes=below("axes"),
        settings=below("settings"),
        source=row.get("source"),
        index=whole("index"),
        seed=whole("seed"),
        overrides=(),
        folder=folder / "trials" / row["trial_id"],
        status=row["status"],
        objective=number(_value(row.get("objective", ""))),
        error=row.get("error"),
        final=numbers(below("final")),
        best=numbers(below("best")),
        best_step=whole("best_step"),
        counts={name: count for name in _COUNTS if (count := whole(name)) is not None},
        seconds=numbers(below("seconds")),
        protocol=row.get("protocol"),
        dataset=row.get("dataset"),
        device=row.get("device"),
    )


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
