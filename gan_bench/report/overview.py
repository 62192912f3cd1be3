"""Figures over all cells: budgets, settings, other metrics, factors, ranks over data sets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy import stats

from gan_bench.report.aggregate import Cell, Part
from gan_bench.report.drawing import LIGHT, RC, Theme, line_of, log_axis, spans, style, wrapped
from gan_bench.report.inference import BudgetCurve, budget_curve, nemenyi_difference
from gan_bench.report.naming import label, number, settings_text
from gan_bench.report.trial import Trial, setting_key

HEAT_ROWS = 30
"""Settings that a heat-map shows."""
_OTHERS = 4
"""Metrics set against the objective."""


def budget_curves(part: Part, *, hours: bool = False) -> dict[str, BudgetCurve]:
    """Return cell -> the best so far against trials or hours: fixed settings first, then searched.

    Cells without a value are left out; so are all if hours are asked for and not known.
    """
    found = {}
    for cell in part.cells:
        if not cell.ranked:
            continue
        ended = [trial for trial in cell.trials if trial.judged]
        stages = []
        for fixed in (True, False):
            chosen = [trial for trial in ended if (trial.source == "fixed") == fixed]
            if chosen:
                costs = [trial.cost(part.objective) for trial in chosen]
                stages.append((costs, [_hours(trial) for trial in chosen]))
        if not hours or all(sum(used) > 0 for _, used in stages):
            found[cell.name] = budget_curve(stages, hours=hours)
    return found


def _hours(trial: Trial) -> float:
    return sum(trial.seconds.get(name, 0.0) for name in ("train", "evaluate")) / 3600


def budget_figure(
    part: Part,
    by_trials: dict[str, BudgetCurve],
    by_hours: dict[str, BudgetCurve],
    theme: Theme = LIGHT,
) -> Figure | None:
    """Draw the expected best against trials, and against device hours, of `budget_curves`."""
    if not by_trials:
        return None
    sign = part.objective.cost(1.0)
    positive = all(sign * trial.cost(part.objective) > 0 for trial in part.ranked)
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(8.4, 3.9 + 0.16 * len(by_trials)), layout="constrained")
        panels = figure.subplots(1, 2, sharey=True)
        for axes, curves, name in (
            (panels[0], by_trials, "trials"),
            (panels[1], by_hours, "device hours"),
        ):
            for i, (cell, curve) in enumerate(curves.items()):
                known = np.isfinite(curve.mean) & np.isfinite(curve.high)
                line = line_of(i)
                axes.fill_between(
                    curve.spent[known], sign * curve.low[known], sign * curve.high[known],
                    color=line["color"], alpha=0.08, linewidth=0,
                )  # fmt: skip
                axes.plot(
                    curve.spent[known], sign * curve.mean[known], linewidth=1.5, label=cell, **line
                )
            axes.set_xlabel(name)
            style(figure, axes, theme)
            axes.grid(color=theme.grid, linewidth=0.6)
            if positive:
                log_axis(axes, "y")
        panels[0].xaxis.set_major_locator(MaxNLocator(integer=True))
        panels[0].set_ylabel(f"best {label(part.objective.metric)} so far")
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(
            handles, names, loc="outside lower center", ncols=3, frameon=False, fontsize=8,
            labelcolor=theme.ink, handlelength=3,
        )  # fmt: skip
    return figure


def settings_figure(part: Part, theme: Theme = LIGHT) -> Figure | None:
    """Draw the heat-map of fixed settings by cell: medians over seeds, the best of a cell's own.

    None unless two cells share two settings.
    """
    cells = [cell for cell in part.cells if any(t.source == "fixed" for t in cell.ranked)]
    if len(cells) < 2:
        return None
    fixed = [trial for cell in cells for trial in cell.trials if trial.source == "fixed"]
    shared = sorted(set.intersection(*(set(trial.settings) for trial in fixed)))
    rows = {setting_key(t.settings, shared): {k: t.settings[k] for k in shared} for t in fixed}
    if not 2 <= len(rows) <= HEAT_ROWS:
        return None
    cost = part.objective.cost
    grid = np.full((len(rows), len(cells)), np.nan)
    row_of = {key: row for row, key in enumerate(rows)}
    for column, cell in enumerate(cells):
        for setting in cell.settings:
            if all(key in setting.settings for key in shared):
                row = row_of.get(setting_key(setting.settings, shared))
                if row is not None:
                    grid[row, column] = np.fmin(grid[row, column], cost(setting.median))
    return _heat(part, [settings_text(row) for row in rows.values()], cells, grid, theme)


def _heat(part: Part, rows: list[str], cells: list[Cell], grid: Any, theme: Theme) -> Figure:
    sign = part.objective.cost(1.0)
    positive = bool(np.nanmin(grid) > 0)
    shown = np.log(grid) if positive else grid
    with matplotlib.rc_context(RC):
        figure = Figure(
            figsize=(2.9 + 0.85 * len(cells), 1.7 + 0.36 * len(rows)), layout="constrained"
        )
        axes = figure.add_subplot()
        axes.set_facecolor(theme.grid)
        image = axes.imshow(shown, cmap="cividis_r", aspect="auto")
        middle = (np.nanmin(shown) + np.nanmax(shown)) / 2
        for row in range(len(rows)):
            for column in range(len(cells)):
                value = grid[row, column]
                dark = np.isfinite(value) and shown[row, column] > middle
                axes.text(
                    column, row, number(sign * value) if np.isfinite(value) else "–", ha="center",
                    va="center", fontsize=8, color="#ffffff" if dark else "#111111",
                )  # fmt: skip
        axes.set_xticks(range(len(cells)), [wrapped(cell.name) for cell in cells])
        axes.tick_params(axis="x", labelrotation=40)
        for text in axes.get_xticklabels():
            text.set_horizontalalignment("right")
        axes.set_yticks(range(len(rows)), rows)
        style(figure, axes, theme)
        axes.set_facecolor(theme.grid)
        bar = figure.colorbar(image, ax=axes, shrink=0.8)
        scale = f"log {label(part.objective.metric)}" if positive else label(part.objective.metric)
        bar.set_label(scale, color=theme.ink)
        bar.ax.tick_params(colors=theme.ink, labelsize=8)
    return figure


def other_metrics(part: Part) -> list[str]:
    """Return the metrics besides the objective that most trials have."""
    ranked = part.ranked
    counts: dict[str, int] = {}
    for trial in ranked:
        for key in trial.measured(part.objective):
            counts[key] = counts.get(key, 0) + 1
    wanted = ("kid_mean", "is_mean", "ms_ssim", "precision", "recall")
    found = [
        key
        for stem in wanted
        for key in sorted(counts)
        if key.startswith(stem) and 2 * counts[key] > len(ranked)
    ]
    return [key for key in found if key != part.objective.metric][:_OTHERS]


def metrics_figure(part: Part, theme: Theme = LIGHT) -> Figure | None:
    """Draw the objective against other metrics, with Spearman's rank correlation."""
    keys = other_metrics(part)
    ranked = part.ranked
    if not keys or len(ranked) < 3:
        return None
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(2.7 * max(len(keys), 2), 2.9), layout="constrained")
        panels = figure.subplots(1, len(keys), squeeze=False)[0]
        for axes, key in zip(panels, keys, strict=True):
            points = [
                (trial.objective or 0.0, trial.measured(part.objective)[key])
                for trial in ranked
                if key in trial.measured(part.objective)
            ]
            x, y = zip(*points, strict=True)
            rho = float(stats.spearmanr(x, y).statistic)
            axes.scatter(x, y, s=9, color=theme.main, alpha=0.55, linewidths=0)
            axes.set_title(f"Spearman {rho:.3f} (n = {len(x)})", fontsize=8, color=theme.ink)
            axes.set_xlabel(label(part.objective.metric))
            axes.set_ylabel(label(key))
            style(figure, axes, theme)
            axes.grid(color=theme.grid, linewidth=0.6)
            if spans(x):
                log_axis(axes, "x", numticks=5)
    return figure


def effects_figure(effects: dict[str, float], theme: Theme = LIGHT) -> Figure:
    """Draw the share of the variance that each factor explains."""
    names = list(effects)[::-1]
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(6.0, 0.9 + 0.3 * len(names)), layout="constrained")
        axes = figure.add_subplot()
        axes.barh(range(len(names)), [effects[name] for name in names], color=theme.main)
        for row, name in enumerate(names):
            axes.annotate(
                f"{effects[name]:.0%}", (effects[name], row), xytext=(4, 0),
                textcoords="offset points", va="center", fontsize=8, color=theme.ink,
            )  # fmt: skip
        axes.set_yticks(range(len(names)), names)
        axes.set_xlabel("share of the explained variance (fANOVA, main effects)")
        axes.margins(x=0.12)
        style(figure, axes, theme)
    return figure


def parallel_figure(part: Part, theme: Theme = LIGHT) -> Figure | None:
    """Draw every ranked trial as a line over its settings; the darker, the better it ranks."""
    ranked = sorted(part.ranked, key=lambda trial: -trial.cost(part.objective))
    if len(ranked) < 3:
        return None
    shared = set.intersection(*(set(trial.settings) for trial in ranked))
    columns: list[tuple[str, list[Any]]] = [("cell", [trial.cell for trial in ranked])]
    columns += [(key, [trial.settings[key] for trial in ranked]) for key in sorted(shared)]
    columns.append((label(part.objective.metric), [trial.objective for trial in ranked]))
    columns = [(name, values) for name, values in columns if len(set(map(str, values))) > 1]
    placed = [_placed(values) for _, values in columns]
    colours = matplotlib.colormaps["cividis_r"](np.linspace(0.05, 1, len(ranked)))
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(1.6 * len(columns) + 1.4, 4.2), layout="constrained")
        axes = figure.add_subplot()
        heights = np.array([column for column, _ in placed]).T
        places = np.broadcast_to(np.arange(len(columns)), heights.shape)
        lines = np.stack([places, heights], axis=2)
        axes.add_collection(LineCollection(list(lines), colors=colours, linewidths=0.8, alpha=0.6))
        for x, (_, ticks) in enumerate(placed):
            axes.axvline(x, color=theme.muted, linewidth=0.8)
            for place, text in ticks:
                axes.annotate(
                    text, (x, place), xytext=(3, 0), textcoords="offset points", fontsize=7,
                    va="center", color=theme.ink,
                    bbox={"facecolor": theme.paper, "alpha": 0.75, "linewidth": 0, "pad": 0.6},
                )  # fmt: skip
        axes.set_xticks(range(len(columns)), [name for name, _ in columns])
        axes.set_yticks([])
        axes.set_xlim(-0.1, len(columns) - 0.35)
        axes.set_ylim(-0.05, 1.05)
        style(figure, axes, theme)
        axes.spines["left"].set_visible(False)
    return figure


def _placed(values: Sequence[Any]) -> tuple[list[float], list[tuple[float, str]]]:
    """Return heights in [0, 1] and (height, text) of some ticks."""
    distinct = list(dict.fromkeys(values))
    numeric = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in distinct)
    if not numeric or len(distinct) <= 4:
        ordered = sorted(distinct) if numeric else sorted(distinct, key=str)
        step = 1 / max(1, len(ordered) - 1)
        heights = {value: i * step for i, value in enumerate(ordered)}
        texts = [(heights[v], f"{v:g}" if numeric else str(v)) for v in ordered]
        return [heights[value] for value in values], texts
    low, high = min(distinct), max(distinct)
    log = spans(distinct, 20)
    scale = math.log if log else float
    a, b = scale(low), scale(high)
    marks = [0.0, 0.25, 0.5, 0.75, 1.0]
    at = [math.exp(a + m * (b - a)) if log else a + m * (b - a) for m in marks]
    return (
        [(scale(value) - a) / (b - a) for value in values],
        [(mark, f"{value:.3g}") for mark, value in zip(marks, at, strict=True)],
    )


def ranks(parts: Sequence[Part]) -> dict[str, float]:
    """Return cell -> average rank over data sets (1 is best) of the cells that all of them have.

    Ranked by the median of the top settings; empty with fewer than two data sets or cells.
    """
    named = [[cell.name for cell in part.cells if cell.settings] for part in parts]
    if len({part.dataset for part in parts}) != len(parts) or len(parts) < 2:
        return {}
    shared = [name for name in named[0] if all(name in other for other in named[1:])]
    if len(shared) < 2:
        return {}
    places = [
        [[n for n in names if n in shared].index(name) + 1 for name in shared] for names in named
    ]
    means = np.mean(places, axis=0)
    return dict(sorted(zip(shared, map(float, means), strict=True), key=lambda pair: pair[1]))


def ranks_figure(average: dict[str, float], datasets: int, theme: Theme = LIGHT) -> Figure:
    """Draw average ranks, and how far apart they must be (Nemenyi; Demsar 2006)."""
    critical = nemenyi_difference(len(average), datasets)
    names = list(average)
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(6.4, 1.2 + 0.3 * len(names)), layout="constrained")
        axes = figure.add_subplot()
        for row, name in enumerate(names):
            axes.plot(average[name], row, "o", color=theme.main, markersize=6)
            axes.plot(
                [average[name], average[name] + critical],
                [row, row],
                color=theme.main,
                linewidth=1.2,
            )
        axes.axvline(average[names[0]] + critical, color=theme.second, linestyle=(0, (5, 3)))
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_yticks(range(len(names)), names)
        axes.set_xlabel(
            f"average rank over {datasets} data sets; bar: critical difference {critical:.2f}"
        )
        style(figure, axes, theme)
        axes.grid(axis="x", color=theme.grid, linewidth=0.6)
    return figure
