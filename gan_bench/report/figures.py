"""Figures: the top 5% of every cell, and how the best trial of each cell got there."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from gan_bench import files
from gan_bench.report.aggregate import Cell, Part, medians
from gan_bench.report.drawing import LIGHT, RC, Theme, log_axis, spans, style, tick, wrapped
from gan_bench.report.naming import label, number
from gan_bench.report.trial import Trial

BOX_POINTS = 5
"""A box needs at least so many points; fewer are shown by their points and median alone."""
CURVE_POINTS = 300
"""Longer curves are thinned to means over so many stretches."""


def top_figure(part: Part, theme: Theme = LIGHT) -> Figure | None:
    """Draw every cell's settings, its top 5% in colour; None without any ranked trial.

    Args:
        part: Trials of one protocol.
        theme: Its colours.
    """
    cells = [cell for cell in part.cells if cell.settings]
    if not cells:
        return None
    shown = [value for cell in cells for value in medians(cell.settings)]
    lines = [(name, v) for name in ("real", "untrained") if (v := part.baseline(name)) is not None]
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(8.0, 1.35 + 0.46 * len(cells)), layout="constrained")
        axes = figure.add_subplot()
        _scale(axes, [*shown, *(value for _, value in lines)])
        for row, cell in enumerate(cells):
            _draw_cell(axes, row, cell, theme)
        axes.set_ylim(len(cells) - 0.45, -0.55)
        axes.set_yticks(range(len(cells)), [wrapped(cell.name) for cell in cells])
        axes.set_xlabel(f"{label(part.objective.metric)}, {_better(part)}")
        style(figure, axes, theme)
        axes.grid(axis="x", color=theme.grid, linewidth=0.7)
        _draw_baselines(axes, lines, theme)
        _count_column(axes, cells, theme)
        _top_legend(figure, axes, theme, boxes=any(len(cell.top) >= BOX_POINTS for cell in cells))
    return figure


def _better(part: Part) -> str:
    return "lower is better" if part.objective.mode == "min" else "higher is better"


def _scale(axes: Axes, shown: Sequence[float]) -> None:
    low, high = min(shown), max(shown)
    if spans(shown):
        log_axis(axes, "x")
        axes.set_xlim(low / (high / low) ** 0.04, high * (high / low) ** 0.04)
    else:
        margin = 0.05 * (high - low) or max(abs(high), 1.0) * 0.05
        axes.set_xlim(low - margin, high + margin)
        axes.xaxis.set_major_formatter(FuncFormatter(tick))


def _draw_cell(axes: Axes, row: int, cell: Cell, theme: Theme) -> None:
    ranked, top = medians(cell.settings), medians(cell.top)
    rest = ranked[len(top) :]
    axes.scatter(rest, _spread(row, len(rest)), s=11, color=theme.muted, alpha=0.45, linewidths=0)
    if len(top) >= BOX_POINTS:
        line = {"color": theme.main, "linewidth": 1.1}
        axes.boxplot(
            [top], positions=[row], orientation="horizontal", widths=0.5, showfliers=False,
            manage_ticks=False, boxprops=line, whiskerprops=line, capprops=line,
            medianprops={"linewidth": 0},
        )  # fmt: skip
    axes.scatter(
        top, _spread(row, len(top)), s=26, color=theme.main, edgecolors=theme.paper,
        linewidths=0.6, zorder=4,
    )  # fmt: skip
    median = statistics.median(top)
    axes.plot([median, median], [row - 0.31, row + 0.31], color=theme.ink, linewidth=2, zorder=3)


def _spread(row: int, n: int) -> list[float]:
    """Return n heights around a row that keep neighbours apart, the same ones every time."""
    golden = (math.sqrt(5) - 1) / 2
    return [row + 0.36 * ((i * golden) % 1 - 0.5) if n > 1 else float(row) for i in range(n)]


def _draw_baselines(axes: Axes, lines: Sequence[tuple[str, float]], theme: Theme) -> None:
    names = {"real": "real against real", "untrained": "untrained generator"}
    low, high = axes.get_xlim()
    for name, value in lines:
        axes.axvline(value, color=theme.second, linewidth=1.2, linestyle=(0, (5, 3)), zorder=1)
        middle = math.sqrt(low * high) if axes.get_xscale() == "log" else (low + high) / 2
        axes.annotate(
            f"{names[name]}: {number(value)}",
            (value, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 3),
            textcoords="offset points",
            ha="left" if value < middle else "right",
            va="bottom",
            fontsize=8,
            color=theme.second,
        )


def _count_column(axes: Axes, cells: Sequence[Cell], theme: Theme) -> None:
    for row, cell in enumerate(cells):
        lost = cell.count("diverged")
        text = f"{len(cell.top)} of {len(cell.settings)}" + (f", {lost} diverged" if lost else "")
        axes.annotate(
            text,
            (1.0, row),
            xycoords=("axes fraction", "data"),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=theme.muted,
            annotation_clip=False,
        )


def _top_legend(figure: Figure, axes: Axes, theme: Theme, *, boxes: bool) -> None:
    handles = [
        axes.scatter([], [], s=26, color=theme.main, label="top 5%"),
        axes.plot([], [], color=theme.ink, linewidth=2, label="median of the top 5%")[0],
        axes.scatter([], [], s=11, color=theme.muted, alpha=0.6, label="other settings"),
    ]
    if boxes:
        handles.insert(
            1, axes.plot([], [], color=theme.main, linewidth=1.1, label="box: quartiles")[0]
        )
    figure.legend(
        handles=handles, loc="outside upper left", ncols=len(handles), frameon=False, fontsize=8,
        labelcolor=theme.ink, handletextpad=0.5, columnspacing=1.6,
    )  # fmt: skip


def curves_figure(part: Part, theme: Theme = LIGHT) -> Figure | None:
    """Draw the losses of each cell's best trial, and its objective where it was measured often.

    Args:
        part: Trials of one protocol.
        theme: Its colours.

    Returns:
        The figure, or None where no best trial has a readable training log.
    """
    best = [(cell.name, cell.best) for cell in part.cells if cell.best]
    runs = [(name, *_read_curves(trial, part.objective.metric)) for name, trial in best]
    runs = [run for run in runs if run[1]]
    if not runs:
        return None
    deep = 2 if any(len(measured) > 1 for _, _, measured in runs) else 1
    wide = min(3, len(runs))
    high = math.ceil(len(runs) / wide)
    with matplotlib.rc_context(RC):
        size = (max(2.9 * wide, 4.6), high * (1.15 + 1.2 * deep) + 0.4)
        figure = Figure(figsize=size, layout="constrained")
        blocks = figure.subfigures(high, wide, squeeze=False)
        span = _shared_span(part, [value for _, _, got in runs for _, value in got])
        for i, (name, losses, measured) in enumerate(runs):
            block = blocks[i // wide][i % wide]
            panels = block.subplots(deep, 1, sharex=True, squeeze=False)[:, 0]
            block.suptitle(wrapped(name), fontsize=9, color=theme.ink)
            _draw_losses(panels[0], losses, theme)
            if deep == 2:
                _draw_objective(panels[1], part, measured, span, theme)
            panels[-1].set_xlabel("G step")
            for axes in panels:
                style(figure, axes, theme)
                axes.grid(color=theme.grid, linewidth=0.6)
            if i % wide == 0:
                panels[0].set_ylabel("loss")
                if deep == 2:
                    panels[1].set_ylabel(label(part.objective.metric).replace(" (", "\n("))
        _loss_legend(figure, theme, deep)
    return figure


def _read_curves(
    trial: Trial, metric: str
) -> tuple[list[tuple[float, float, float]], list[tuple[float, float]]]:
    train = files.read_jsonl(trial.folder / "train.jsonl")
    losses = _by_step(train, ("d_loss", "g_loss"))
    evaluations = files.read_jsonl(trial.folder / "evaluations.jsonl")
    measured = _by_step(evaluations, (metric,))
    return (
        [(step, row[0], row[1]) for step, row in _thinned(losses)],
        [(step, row[0]) for step, row in measured],
    )


def _by_step(
    records: Iterable[dict[str, Any]], keys: tuple[str, ...]
) -> list[tuple[float, list[float]]]:
    """Pick finite numbers by step; a step logged again by a resumed run counts once, the last."""
    found = {}
    for record in records:
        row: list[Any] = [record.get(key) for key in ("step", *keys)]
        if all(type(item) in (int, float) and math.isfinite(item) for item in row):
            found[float(row[0])] = [float(item) for item in row[1:]]
    return sorted(found.items())


def _thinned(curve: list[tuple[float, list[float]]]) -> list[tuple[float, list[float]]]:
    stretch = -(-len(curve) // CURVE_POINTS)
    if stretch <= 1:
        return curve
    stretches = [curve[i : i + stretch] for i in range(0, len(curve), stretch)]
    return [
        (
            statistics.fmean(step for step, _ in part),
            [statistics.fmean(column) for column in zip(*(row for _, row in part), strict=True)],
        )
        for part in stretches
    ]


def _draw_losses(axes: Axes, losses: list[tuple[float, float, float]], theme: Theme) -> None:
    steps = [step for step, _, _ in losses]
    marker = "o" if len(losses) == 1 else None
    axes.plot(steps, [d for _, d, _ in losses], color=theme.main, linewidth=1.1, marker=marker)
    axes.plot(steps, [g for _, _, g in losses], color=theme.second, linewidth=1.1, marker=marker)
    sizes = sorted(abs(value) for _, *pair in losses for value in pair)
    typical = sizes[len(sizes) // 2]
    if sizes[-1] > 100 * typical > 0:
        # One spike would flatten the rest of the curve.
        axes.set_yscale("symlog", linthresh=4 * typical)
    else:
        axes.yaxis.set_major_locator(MaxNLocator(4))


def _draw_objective(
    axes: Axes,
    part: Part,
    measured: list[tuple[float, float]],
    span: tuple[float, float, bool],
    theme: Theme,
) -> None:
    low, high, log = span
    axes.plot(
        [step for step, _ in measured], [value for _, value in measured], color=theme.third,
        linewidth=1.3, marker="o", markersize=3.2,
    )  # fmt: skip
    if measured:
        pick = min(measured, key=lambda point: part.objective.cost(point[1]))
        axes.plot(*pick, "o", ms=7.5, mfc="none", mec=theme.ink, mew=1.0)
        axes.annotate(
            number(pick[1]), pick, xytext=(0, 8), textcoords="offset points", ha="center",
            va="bottom", fontsize=8, color=theme.ink,
        )  # fmt: skip
    if log:
        log_axis(axes, "y", numticks=6)
    else:
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_formatter(FuncFormatter(tick))
    axes.set_ylim(low, high)


def _shared_span(part: Part, measured: list[float]) -> tuple[float, float, bool]:
    """Return one range for all objective panels, so that they can be compared by eye."""
    if not measured:
        return 0.0, 1.0, False
    low, high = min(measured), max(measured)
    if spans(measured):
        return low / 1.25, high * 1.25, True
    margin = 0.12 * (high - low) or max(abs(high), 1.0) * 0.05
    return low - margin, high + 1.5 * margin, False


def _loss_legend(figure: Figure, theme: Theme, deep: int) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=theme.main, label="D loss"),
        Line2D([], [], color=theme.second, label="G loss"),
    ]
    if deep == 2:
        handles.append(Line2D([], [], color=theme.third, marker="o", ms=3.2, label="evaluations"))
        handles.append(
            Line2D(
                [], [], linestyle="none", marker="o", ms=7, mfc="none", mec=theme.ink, label="best"
            )
        )
    figure.legend(
        handles=handles, loc="outside upper left", ncols=4, frameon=False, fontsize=8,
        labelcolor=theme.ink,
    )  # fmt: skip
