"""Readers of what JSON, YAML or a table may hold: what does not fit is left out, never raised."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def mapping(value: Any) -> dict[str, Any]:
    """Return a mapping with strings as keys; empty for anything else."""
    return {str(k): v for k, v in value.items()} if isinstance(value, Mapping) else {}


def strings(value: Any) -> tuple[str, ...]:
    """Return the items of a list as strings, or a single string; else none."""
    if isinstance(value, str):
        return (value,)
    return tuple(str(item) for item in value) if isinstance(value, (list, tuple)) else ()


def text(value: Any) -> str | None:
    """Return anything as a string; None for nothing."""
    return None if value is None or value == "" else str(value)


def number(value: Any) -> float | None:
    """Return a finite number; None for anything else, as true and false."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


def integer(value: Any) -> int | None:
    """Return a finite number without its fraction; None for anything else."""
    found = number(value)
    return None if found is None else int(found)


def numbers(record: Mapping[str, Any]) -> dict[str, float]:
    """Return the finite numbers of a record."""
    return {str(k): n for k, v in record.items() if (n := number(v)) is not None}
