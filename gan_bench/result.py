"""What result.json of a run holds: the best evaluation, or why there is none."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gan_bench import files
from gan_bench.errors import GanBenchError
from gan_bench.metric_keys import find

RESULT_SCHEMA = 1
RANKED_BY = ("fid", "kid_mean")
"""`best` is the evaluation with the lowest of the first of these that was measured."""


def write_failure(run_dir: Path, error: Exception) -> dict[str, Any]:
    """Write and return the result of a trial that a fault has ended, within its handler."""
    files.write_text(run_dir / "error.log", traceback.format_exc())
    message = str(error) if isinstance(error, GanBenchError) else repr(error)
    result = {
        "schema": RESULT_SCHEMA,
        "trial_id": run_dir.name,
        "status": "failed",
        "metrics": {},
        "best": {},
        "error": f"{message} (traceback in error.log)",
    }
    files.write_json(run_dir / "result.json", result)
    return result


def without(record: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """Return a record without some of its keys."""
    return {key: value for key, value in record.items() if key not in keys}


def best_evaluation(evaluations: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the evaluation with the lowest FID (or KID where no FID was measured).

    With neither it is the last one; with no evaluation it is empty.
    """
    for metric in RANKED_BY:
        ranked = []
        for line in evaluations:
            key = find(line, metric)
            if key is not None and line[key] is not None:
                ranked.append((line[key], line["step"], line))
        if ranked:
            return without(min(ranked, key=lambda item: item[:2])[2], "source")
    return without(evaluations[-1], "source") if evaluations else {}


def read_result(run_dir: Path) -> dict[str, Any] | None:
    """Read a run's result; None if it has not ended.

    Raises:
        GanBenchError: It is unreadable or from an incompatible version.
    """
    path = run_dir / "result.json"
    if not path.exists():
        return None
    result = files.read_json(path, what="result file")
    if not isinstance(result, dict) or result.get("schema") != RESULT_SCHEMA:
        raise GanBenchError(
            f"{path} is no result of schema {RESULT_SCHEMA}; "
            "use the version of gan_bench that wrote it, or delete it to run again"
        )
    return result
