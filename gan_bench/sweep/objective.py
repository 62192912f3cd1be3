"""What the trials of a study are compared by."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from gan_bench.metric_keys import find


@dataclasses.dataclass(frozen=True)
class Objective:
    """What trials are compared by."""

    metric: str = "fid"
    """A key of the result's metrics, or its stem: fid finds fid_digits_cnn."""
    mode: str = "min"
    """min or max."""
    at: str = "best"
    """best: the best checkpoint that was evaluated; final: the last."""

    def find(self, result: Mapping[str, Any]) -> str | None:
        """Return the key that the metric has in a trial's result; None if it was not measured."""
        return find(result.get("best" if self.at == "best" else "metrics") or {}, self.metric)

    def value(self, result: Mapping[str, Any]) -> float | None:
        """Return a trial's value; None unless it completed, or was stopped, with a finite one."""
        key = self.find(result)
        if key is None or result.get("status") not in ("completed", "stopped"):
            return None
        value = result["best" if self.at == "best" else "metrics"][key]
        finite = isinstance(value, (int, float)) and math.isfinite(value)
        return float(value) if finite else None

    @property
    def sign(self) -> float:
        """1 where lower is better, else -1: sign * value is what searches minimize."""
        return 1.0 if self.mode == "min" else -1.0

    def better(self, a: float, b: float) -> bool:
        """Whether value a is better than value b."""
        return self.sign * a < self.sign * b
