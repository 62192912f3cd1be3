"""Tables behind the answer: pairs of cells, robustness, published figures beside ours."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence

import pandas as pd

from gan_bench.report.compare import ALPHA, Comparison, Robustness
from gan_bench.report.naming import label, number
from gan_bench.report.published import Match
from gan_bench.report.tables import Column, Entry, Table


def pairs_frame(comparison: Comparison) -> pd.DataFrame:
    """Return one row a pair of cells, full precision."""
    rows = [
        {
            "first": pair.first,
            "second": pair.second,
            "probability_of_improvement": pair.improvement.probability,
            "low": pair.improvement.low,
            "high": pair.improvement.high,
            "cliffs_delta": pair.improvement.delta,
            "p_value": pair.improvement.p_value,
            "p_adjusted": pair.p_adjusted,
            "n": pair.improvement.pairs,
        }
        for pair in comparison.pairs
    ]
    return pd.DataFrame(rows)


def pairs_table(comparison: Comparison) -> Table:
    """Build the table of pairs, the surest first."""
    columns = (
        Column("Cell", numeric=False),
        Column("against", numeric=False),
        Column("P(improvement)"),
        Column("95% interval", numeric=False),
        Column("Cliff's delta"),
        Column("p, Holm"),
        Column("Trials"),
        Column("Verdict", numeric=False),
    )
    rows = []
    for pair in sorted(comparison.pairs, key=lambda pair: pair.p_adjusted):
        found = pair.improvement
        better = "better" if found.probability > 0.5 else "worse"
        rows.append(
            (
                Entry(pair.first),
                Entry(pair.second),
                Entry(f"{found.probability:.2f}", found.probability),
                Entry(f"{found.low:.2f} to {found.high:.2f}"),
                Entry(f"{found.delta:+.2f}", found.delta),
                Entry(f"{pair.p_adjusted:.3g}", pair.p_adjusted),
                Entry(str(found.pairs), found.pairs),
                Entry(better if pair.significant else "not told apart"),
            )
        )
    notes = (
        "P(improvement): the probability that a trial of the cell is better than one of the "
        "other under the same shared settings (0.5: no difference), with a stratified bootstrap "
        "interval. "
        "p: van Elteren's stratified rank-sum test, corrected for the number of pairs by Holm's "
        f"method; a verdict is given below {ALPHA}. A diverged trial counts as the worst.",
    )
    return Table("Pairs of cells", columns, tuple(rows), notes)


def robustness_frame(found: Sequence[Robustness]) -> pd.DataFrame:
    """Return one row a cell, full precision."""
    return pd.DataFrame([dataclasses.asdict(row) for row in found])


def robustness_table(found: Sequence[Robustness], metric: str) -> Table:
    """Build the table of what a cell loses away from its best setting."""
    name = label(metric)
    columns = (
        Column("Cell", numeric=False),
        Column("Settings"),
        Column(f"Interquartile mean {name}"),
        Column("95% interval", numeric=False),
        Column("Loss against its best setting"),
        Column("Settings within 1.5x of it"),
        Column("Diverged or failed"),
        Column("95% interval ", numeric=False),
    )
    rows = tuple(
        (
            Entry(row.cell),
            Entry(str(row.settings), row.settings),
            Entry(_finite(row.iqm), row.iqm),
            Entry(f"{_finite(row.iqm_low)} to {_finite(row.iqm_high)}"),
            Entry(f"{row.loss:+.0%}" if abs(row.loss) < 1e6 else "–", row.loss),
            Entry(f"{row.near:.0%}", row.near),
            Entry(f"{row.unusable:.0%}", row.unusable),
            Entry(f"{row.unusable_low:.0%} to {row.unusable_high:.0%}"),
        )
        for row in found
    )
    notes = (
        "Interquartile mean: of the middle half of the cell's settings, each its median over "
        "seeds, with a bootstrap interval (rliable, arXiv 2108.13264); a setting whose median seed "
        "diverged counts as infinite. The share that diverged has a Wilson interval.",
    )
    return Table("Robustness", columns, rows, notes)


def _finite(value: float) -> str:
    return "diverged" if value in (float("inf"), float("-inf")) else number(value)


def published_table(matches: Sequence[Match]) -> Table:
    """Build the table of published figures and ours."""
    columns = (
        Column("Source", numeric=False),
        Column("Method", numeric=False),
        Column("Metric", numeric=False),
        Column("Published"),
        Column("measured on", numeric=False),
        Column("where read", numeric=False),
        Column("Ours, same protocol"),
        Column("Difference"),
        Column("Within two spreads", numeric=False),
        Column("Ours, another protocol or training"),
        Column("how it differs", numeric=False),
    )
    return Table("Published figures beside ours", columns, tuple(map(_published_row, matches)))


def _published_row(found: Match) -> tuple[Entry, ...]:
    figure = found.figure
    value = number(figure.value) + (" (recalled)" if figure.recalled else "")
    same = statistics.median(found.same) if found.same else None
    other = statistics.median(found.other) if found.other else None
    verdict = {None: "unknown" if found.same else "–", True: "yes", False: "no"}[found.within]
    return (
        Entry(f"{figure.source}, {figure.table}"),
        Entry(", ".join(f"{v:g}" if isinstance(v, float) else v for v in figure.method.values())),
        Entry(figure.metric),
        Entry(value, figure.value),
        Entry(figure.protocol),
        Entry(figure.provenance),
        Entry(number(same), same),
        Entry(
            f"{found.difference:+.3g}" if found.difference is not None else "–", found.difference
        ),
        Entry(verdict),
        Entry(number(other), other),
        Entry(found.why or "–"),
    )
