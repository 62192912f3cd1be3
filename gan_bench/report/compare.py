"""Which cell is better, and what luck could do: pairs of cells, corrected for their number.

Cells are compared under the same conditions: trials that share all the settings both cells have
(learning rate, betas, n_disc, ...) are a stratum, and what one cell alone has tried is left to one
stratum of its own. So a cell does not win by the settings that it was given.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from gan_bench.report.aggregate import Cell, Part
from gan_bench.report.inference import (
    Improvement,
    Stratum,
    holm,
    improvement,
    interquartile_interval,
    interquartile_mean,
)
from gan_bench.report.trial import Objective, Trial, setting_key

ALPHA = 0.05


@dataclass(frozen=True)
class Pair:
    """Two cells; what is said of the first holds against the second."""

    first: str
    second: str
    improvement: Improvement
    p_adjusted: float
    """Corrected for the number of pairs (Holm)."""

    @property
    def significant(self) -> bool:
        """Whether luck is an unlikely reason for the difference."""
        return self.p_adjusted < ALPHA


@dataclass(frozen=True)
class Comparison:
    """All pairs of a part's cells that have values, the better-ranked cell first in each."""

    pairs: tuple[Pair, ...]

    def beats(self, first: str, second: str) -> bool:
        """Whether a cell is better than another, beyond luck."""
        for pair in self.pairs:
            if {pair.first, pair.second} == {first, second}:
                better = pair.first if pair.improvement.probability > 0.5 else pair.second
                return pair.significant and better == first
        return False

    def winner(self) -> str | None:
        """Return the cell that beats every other; None where there is no such."""
        names = list(
            dict.fromkeys(name for pair in self.pairs for name in (pair.first, pair.second))
        )
        for name in names:
            if all(self.beats(name, other) for other in names if other != name):
                return name
        return None


def compare(part: Part) -> Comparison:
    """Compare every two cells of a part that have values."""
    cells = [cell for cell in part.cells if cell.ranked]
    found = []
    for first, second in itertools.combinations(cells, 2):
        strata = strata_of(first, second, part.objective)
        if strata:
            found.append((first.name, second.name, improvement(strata)))
    adjusted = holm([each.p_value for _, _, each in found])
    return Comparison(
        tuple(Pair(*row, p_adjusted=p) for row, p in zip(found, adjusted, strict=True))
    )


def strata_of(first: Cell, second: Cell, objective: Objective) -> list[Stratum]:
    """Return the costs of the two by condition: lower is better, infinite did not get there."""
    ours, theirs = ([t for t in cell.trials if t.judged] for cell in (first, second))
    if not ours or not theirs:
        return []
    shared = set.intersection(*(set(trial.settings) for trial in (*ours, *theirs)))
    groups = [_by_condition(trials, shared, objective) for trials in (ours, theirs)]
    both = [key for key in groups[0] if key in groups[1]]
    strata = [(np.array(groups[0][key]), np.array(groups[1][key])) for key in both]
    left = [
        [value for key, values in group.items() if key not in both for value in values]
        for group in groups
    ]
    if all(left):
        strata.append((np.array(left[0]), np.array(left[1])))
    return strata


def _by_condition(
    trials: Sequence[Trial], shared: set[str], objective: Objective
) -> dict[str, list[float]]:
    groups: dict[str, list[float]] = {}
    for trial in trials:
        groups.setdefault(setting_key(trial.settings, shared), []).append(trial.cost(objective))
    return groups


@dataclass(frozen=True)
class Robustness:
    """How a cell does away from its best setting, and how often not at all."""

    cell: str
    settings: int
    iqm: float
    """Interquartile mean over settings (each its median over seeds); infinite: many diverged."""
    iqm_low: float
    iqm_high: float
    loss: float
    """IQM over the best setting's median, minus one: what is lost without tuning, as a share."""
    near: float
    """Share of settings within 1.5 times the best setting's median."""
    unusable: float
    """Share of ended trials that diverged or failed."""
    unusable_low: float
    unusable_high: float


def robustness(cell: Cell, objective: Objective) -> Robustness | None:
    """Measure a cell's robustness; None without a setting that has a finite median."""
    if not cell.settings:
        return None
    costs = [objective.cost(setting.median) for setting in cell.settings]
    tried = {setting_key(trial.settings) for trial in cell.trials if trial.judged}
    lost = len(tried) - len(costs)
    costs += [float("inf")] * lost
    best, all_costs = costs[0], np.array(costs)
    low, high = interquartile_interval(all_costs)
    iqm = interquartile_mean(all_costs)
    ended = cell.count("completed", "stopped", "diverged", "failed")
    bad = cell.count("diverged", "failed")
    ends = stats.binomtest(bad, ended).proportion_ci(method="wilson")
    sign = objective.cost(1.0)
    bounds = sorted((sign * low, sign * high))
    return Robustness(
        cell=cell.name,
        settings=len(costs),
        iqm=sign * iqm,
        iqm_low=bounds[0],
        iqm_high=bounds[1],
        loss=(iqm - best) / abs(best) if best else float("nan"),
        near=float(np.mean(all_costs <= best + 0.5 * abs(best))),
        unusable=bad / ended,
        unusable_low=float(ends.low),
        unusable_high=float(ends.high),
    )
