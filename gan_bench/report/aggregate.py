"""From trials to cells: counts, the top 5%, medians over seeds, one protocol at a time.

The rule for protocols: figures that were measured differently (another protocol string, another
data set) never stand in one table. The report writes one table for each; `frames.compare_cells`,
which returns a single table, refuses such a study.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from gan_bench.report.lenient import numbers
from gan_bench.report.study import BASELINES, FINISHED, Study
from gan_bench.report.trial import CellPlan, Objective, Trial, setting_key

SHARE = 0.05


@dataclass(frozen=True)
class Setting:
    """The seeds of one setting, taken together."""

    settings: dict[str, Any]
    trials: tuple[Trial, ...]
    values: tuple[float, ...]
    """The objectives of its ranked trials, sorted."""
    diverged: int
    median: float
    """Median over its seeds, a diverged one counting as the worst; infinite if that is one."""

    @property
    def seeds(self) -> int:
        """Number of seeds that ended by themselves: ranked or diverged."""
        return len(self.values) + self.diverged


@dataclass(frozen=True)
class Cell:
    """All trials of a cell."""

    name: str
    axes: dict[str, Any]
    trials: tuple[Trial, ...]
    ranked: tuple[Trial, ...]
    """The completed trials that have the objective, best first."""
    n_settings: int
    settings: tuple[Setting, ...]
    """Those whose median over seeds is finite, best first."""
    best_setting: Setting | None
    share: float = SHARE

    @property
    def top(self) -> tuple[Setting, ...]:
        """The top 5% (or another share) of its settings, each by its median over seeds."""
        return self.settings[: top_count(len(self.settings), self.share)]

    @property
    def best(self) -> Trial | None:
        """Its best trial."""
        return self.ranked[0] if self.ranked else None

    def count(self, *statuses: str) -> int:
        """Count its trials with one of the statuses."""
        return sum(trial.status in statuses for trial in self.trials)

    @property
    def unfinished(self) -> int:
        """Number of its trials that are proposed or running."""
        return len(self.trials) - self.count(*FINISHED, "unreadable")


@dataclass(frozen=True)
class Part:
    """The trials of a study that may be compared with one another."""

    number: int
    dataset: str | None
    protocol: str | None
    objective: Objective
    cells: tuple[Cell, ...]
    """Best first; those without a ranked trial at the end."""
    baselines: dict[str, dict[str, float]]
    notes: tuple[str, ...]

    @property
    def trials(self) -> list[Trial]:
        """All its trials, cell after cell."""
        return [trial for cell in self.cells for trial in cell.trials]

    @property
    def ranked(self) -> list[Trial]:
        """Its trials that take part in the comparison, in the same order."""
        return [trial for trial in self.trials if trial.ranked]

    def baseline(self, name: str) -> float | None:
        """Return the objective of a baseline ("untrained" or "real"), if it is known."""
        return self.baselines.get(name, {}).get(self.objective.metric)


def top_count(n: int, share: float = SHARE) -> int:
    """Return how many of n are the top 5%, or another share: rounded up, so at least one of any."""
    return math.ceil(n * share - 1e-9)


def values(trials: Iterable[Trial]) -> list[float]:
    """Return the objectives of ranked trials, in their order."""
    return [trial.objective for trial in trials if trial.objective is not None]


def medians(settings: Iterable[Setting]) -> list[float]:
    """Return the medians of settings, in their order."""
    return [setting.median for setting in settings]


def summarize(
    trials: Sequence[Trial],
    objective: Objective,
    plans: Sequence[CellPlan] = (),
    share: float = SHARE,
) -> tuple[Cell, ...]:
    """Group trials by cell and rank the cells by the median of their top settings.

    Args:
        trials: Trials of one protocol, in the order in which they were proposed.
        objective: What they are ranked by.
        plans: Planned cells; one without any trial is listed too.
        share: What counts as the top.

    Returns:
        The cells, best first. Equal trials stand in the order in which they were proposed.
    """
    axes = {plan.name: plan.axes for plan in plans}
    groups: dict[str, list[Trial]] = {plan.name: [] for plan in plans}
    for trial in trials:
        groups.setdefault(trial.cell, []).append(trial)
        axes.setdefault(trial.cell, trial.axes)
    cells = [_cell(name, axes[name], group, objective, share) for name, group in groups.items()]
    return tuple(sorted(cells, key=lambda cell: _rank(cell, objective)))


def _rank(cell: Cell, objective: Objective) -> tuple[float, float]:
    inf = float("inf")
    top = objective.cost(statistics.median(medians(cell.top))) if cell.top else inf
    return top, objective.cost(values(cell.ranked)[0]) if cell.ranked else inf


def _cell(
    name: str, axes: dict[str, Any], trials: list[Trial], objective: Objective, share: float
) -> Cell:
    ranked = sorted(
        (trial for trial in trials if trial.ranked), key=lambda trial: trial.cost(objective)
    )
    groups = _by_setting(trials)
    settings = [_setting(group, objective) for group in groups.values()]
    finite = [setting for setting in settings if setting.values and math.isfinite(setting.median)]
    return Cell(
        name=name,
        axes=axes,
        trials=tuple(trials),
        ranked=tuple(ranked),
        n_settings=len(settings),
        settings=tuple(sorted(finite, key=lambda setting: objective.cost(setting.median))),
        best_setting=_best_setting(settings, objective),
        share=share,
    )


def _by_setting(trials: Iterable[Trial]) -> dict[str, list[Trial]]:
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(setting_key(trial.settings), []).append(trial)
    return groups


def _best_setting(settings: list[Setting], objective: Objective) -> Setting | None:
    """Pick the setting with the best median over its seeds.

    A setting tried with few seeds wins by luck over one tried with many, so only those count that
    have at least half as many seeds as the most repeated setting of the cell.
    """
    most = max((setting.seeds for setting in settings), default=0)
    able = [
        setting
        for setting in settings
        if setting.values and 2 * setting.seeds >= most and math.isfinite(setting.median)
    ]
    return min(able, key=lambda setting: objective.cost(setting.median), default=None)


def _setting(trials: list[Trial], objective: Objective) -> Setting:
    reached = sorted(values(trial for trial in trials if trial.ranked))
    diverged = sum(trial.status == "diverged" for trial in trials)
    worst = float("inf") if objective.mode == "min" else float("-inf")
    seeds = reached + [worst] * diverged
    median = statistics.median(seeds) if seeds else worst
    return Setting(trials[0].settings, tuple(trials), tuple(reached), diverged, median)


def split_parts(study: Study, share: float = SHARE) -> list[Part]:
    """Split a study into parts whose figures may be compared: one data set, one protocol.

    A trial that measured nothing (diverged, failed, still running) is counted where its own
    protocol, else its cell, else its data set belongs, else in the first part.
    """
    keys = list(dict.fromkeys(_key(trial) for trial in study.trials if trial.ranked))
    keys = keys or [(None, None)]
    homes: list[list[Trial]] = [[] for _ in keys]
    cells: dict[str, int] = {}
    for trial in study.trials:
        if trial.ranked:
            cells.setdefault(trial.cell, keys.index(_key(trial)))
    datasets = {dataset: i for i, (dataset, _) in reversed(list(enumerate(keys)))}
    for trial in study.trials:
        own = _key(trial)
        named = trial.dataset or str(trial.axes.get("dataset"))
        home = keys.index(own) if own in keys else cells.get(trial.cell, datasets.get(named, 0))
        homes[home].append(trial)
    started = {trial.cell for trial in study.trials}
    parts = []
    for number, ((dataset, protocol), trials) in enumerate(zip(keys, homes, strict=True), start=1):
        here = {trial.cell for trial in trials}
        plans = [
            plan
            for plan in study.cells
            if plan.name in here or (number == 1 and plan.name not in started)
        ]
        baselines, notes = _baselines(study, protocol)
        objective = _resolved(study.objective, trials)
        parts.append(
            Part(
                number=number,
                dataset=dataset,
                protocol=protocol,
                objective=objective,
                cells=summarize(trials, objective, plans, share),
                baselines=baselines,
                notes=notes,
            )
        )
    return parts


def _resolved(objective: Objective, trials: Sequence[Trial]) -> Objective:
    """Return the objective with the key that the metric has in these trials."""
    ranked = next((trial for trial in trials if trial.ranked), None)
    if ranked is None:
        return objective
    return dataclasses.replace(objective, metric=objective.key(ranked.measured(objective)))


def _key(trial: Trial) -> tuple[str | None, str | None]:
    return trial.dataset, trial.protocol


def _baselines(
    study: Study, protocol: str | None
) -> tuple[dict[str, dict[str, float]], tuple[str, ...]]:
    kept, notes = {}, []
    for name in BASELINES:
        # of merged studies each has its own, "untrained@folder"
        known = [m for key, m in study.baselines.items() if key.partition("@")[0] == name]
        theirs = [m for m in known if protocol is None or m.get("protocol") in (None, protocol)]
        if theirs:
            kept[name] = numbers(theirs[0])
        elif known:
            notes.append(
                f"The baseline '{name}' was measured under another protocol "
                f"({known[0].get('protocol')}) and is left out."
            )
    return kept, tuple(notes)
