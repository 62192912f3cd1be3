"""Published figures beside ours: the same data, networks, method and hyper-parameters.

`results/published/*.csv` holds them with where each was read. A figure of ours stands in the same
column only if it was measured the same way: real Inception features, as many real and generated
images, the full width and length of training. All others stand in a column of their own.
"""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gan_bench import config as configs
from gan_bench.errors import GanBenchError
from gan_bench.metric_keys import find
from gan_bench.report.method import FIELDS, PARTS
from gan_bench.report.naming import is_published
from gan_bench.report.trial import Objective, Trial

METRICS = {"fid": "fid", "is": "is_mean", "kid": "kid_mean", "ms_ssim": "ms_ssim"}
"""As the tables name a metric -> its key here."""
_NUMBERS = tuple(name for name in FIELDS if name != "width")
_REQUIRED = ("source", "table", *PARTS, *_NUMBERS, "d_steps", "metric", "value", "provenance")


@dataclass(frozen=True)
class Figure:
    """A published number."""

    source: str
    table: str
    method: Mapping[str, Any]
    """What is known of its parts and hyper-parameters."""
    metric: str
    value: float
    std: float | None
    d_steps: float | None
    n_real: float | None
    n_fake: float | None
    provenance: str

    @property
    def recalled(self) -> bool:
        """Whether nobody has seen it in a source."""
        return self.provenance.startswith("recalled")

    @property
    def protocol(self) -> str:
        """How many real and generated images it was measured on, as far as is known."""
        real, fake = (f"{n:g}" if n is not None else "?" for n in (self.n_real, self.n_fake))
        return f"{real} real, {fake} generated"


@dataclass(frozen=True)
class Match:
    """A published number and ours."""

    figure: Figure
    same: tuple[float, ...]
    """Ours, measured the same way, one a seed."""
    other: tuple[float, ...]
    """Ours, measured or trained otherwise."""
    why: str
    """How ours differ, where there are only others."""
    spread: float | None
    """Standard deviation to expect between two runs; None: unknown."""

    @property
    def difference(self) -> float | None:
        """Ours (median over seeds) minus the published one; None without ours."""
        return statistics.median(self.same) - self.figure.value if self.same else None

    @property
    def within(self) -> bool | None:
        """Whether the difference is within two spreads; None where one of them is unknown."""
        if self.difference is None or self.spread is None:
            return None
        return abs(self.difference) <= 2 * self.spread


def read_published(folder: Path | None = None) -> list[Figure]:
    """Read the tables.

    Args:
        folder: With CSV files; those that come with gan_bench if not given.

    Raises:
        GanBenchError: A file lacks a column, or a value is no number.
    """
    folder = folder or configs.resource_dir("results") / "published"
    return [figure for path in sorted(folder.glob("*.csv")) for figure in _read(path)]


def _read(path: Path) -> Iterable[Figure]:
    with path.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        missing = [name for name in _REQUIRED if name not in (reader.fieldnames or ())]
        if missing:
            raise GanBenchError(f"{path} has no column {missing[0]}; see results/README.md")
        for number, row in enumerate(reader, start=2):
            try:
                yield _figure(row)
            except ValueError as error:
                raise GanBenchError(f"{path}, line {number}: {error}") from None


def _figure(row: Mapping[str, str]) -> Figure:
    method: dict[str, Any] = {name: row[name] for name in PARTS if row[name]}
    method |= {name: float(row[name]) for name in _NUMBERS if row[name]}

    def number(name: str) -> float | None:
        return float(row[name]) if row.get(name) else None

    return Figure(
        source=row["source"],
        table=row["table"],
        method=method,
        metric=row["metric"],
        value=float(row["value"]),
        std=number("std"),
        d_steps=number("d_steps"),
        n_real=number("n_real"),
        n_fake=number("n_fake"),
        provenance=row["provenance"],
    )


def match(trials: Sequence[Trial], objective: Objective, figures: Sequence[Figure]) -> list[Match]:
    """Set published figures beside the trials of the same method and hyper-parameters.

    What a published row doesn't say (no learning rate, no lambda) is not compared.
    """
    found = []
    for figure in figures:
        ours = [trial for trial in trials if trial.ranked and _is_same(trial, figure.method)]
        found += [_match(figure, ours, objective, figures)] if ours else []
    return found


def _is_same(trial: Trial, method: Mapping[str, Any]) -> bool:
    def equal(name: str) -> bool:
        theirs, ours = method[name], trial.method.get(name)
        if isinstance(theirs, str):
            return bool(ours == theirs)
        return isinstance(ours, (int, float)) and math.isclose(ours, theirs, rel_tol=1e-3)

    return all(name in method for name in ("dataset", "architecture", "loss")) and all(
        map(equal, method)
    )


def _match(
    figure: Figure, trials: list[Trial], objective: Objective, figures: Sequence[Figure]
) -> Match:
    same: list[float] = []
    other: list[float] = []
    why = ""
    for trial in trials:
        measured = trial.measured(objective)
        key = find(measured, METRICS.get(figure.metric, figure.metric))
        if key is None:
            continue
        reason = _how_it_differs(trial, key, figure)
        (other if reason else same).append(measured[key])
        why = why or reason
    twins = [f.value for f in figures if (f.method, f.metric) == (figure.method, figure.metric)]
    theirs = figure.std or (statistics.stdev(twins) if len(twins) > 1 else None)
    ours = statistics.stdev(same) if len(same) > 1 else None
    known = [spread for spread in (theirs, ours) if spread is not None]
    # of one of them: the other is taken to vary as much
    spread = math.hypot(*(known * 2)[:2]) if known else None
    return Match(figure, tuple(same), tuple(other), why, spread)


def _how_it_differs(trial: Trial, key: str, figure: Figure) -> str:
    """Return in words how a trial was measured or trained otherwise; empty: it was not."""
    reasons = []
    if not is_published(key):
        reasons.append(f"features: {key}")
    for name, theirs in (("n_real", figure.n_real), ("n_fake", figure.n_fake)):
        ours = trial.facts.get(name)
        if theirs is None:
            reasons.append(f"{name} unknown")
        elif ours is None or float(ours) != theirs:
            reasons.append(f"{name} {ours}")
    if trial.method.get("width", 1.0) != 1.0:
        reasons.append(f"width {trial.method['width']:g}")
    steps = trial.counts.get("d_steps")
    if figure.d_steps is not None and steps is not None and steps < 0.99 * figure.d_steps:
        reasons.append(f"{steps} of {figure.d_steps:g} D steps")
    return ", ".join(reasons)
