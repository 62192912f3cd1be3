"""What the report says of one part of a study: tables and figures, as files and for the page."""

from __future__ import annotations

import base64
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from gan_bench import files
from gan_bench.report import drawing, evidence, figures, overview, tables
from gan_bench.report.aggregate import Part
from gan_bench.report.answer import answer, comparability
from gan_bench.report.compare import compare, robustness
from gan_bench.report.effects import factor_effects
from gan_bench.report.frames import cells_frame
from gan_bench.report.interactive import plots
from gan_bench.report.naming import label, number
from gan_bench.report.published import Figure as PublishedFigure
from gan_bench.report.published import match
from gan_bench.report.study import sample_grid, step_files
from gan_bench.report.trial import Trial

_FRAME_MS = 250


@dataclass(frozen=True)
class Picture:
    """A picture in the page, and its twin for dark screens."""

    alt: str
    light: str
    dark: str | None = None


@dataclass(frozen=True)
class Grid:
    """A sample grid and what it shows."""

    caption: str
    picture: Picture


_FIGURES = {
    "top5": ("Settings of each cell, the top 5% in colour", figures.top_figure),
    "settings": ("Heat-map of fixed settings by cell", overview.settings_figure),
    "metrics": ("The objective against other metrics", overview.metrics_figure),
    "curves": ("Losses and evaluations of the best trial of each cell", figures.curves_figure),
}


def build_section(
    part: Part, several: bool, folder: Path, published: list[PublishedFigure]
) -> dict[str, Any]:
    """Write a part's tables and figures, and return what the page shows of it.

    Args:
        part: Trials of one protocol.
        several: Whether the study has other parts, so that files carry its number.
        folder: The report's.
        published: Figures to set beside ours.
    """
    suffix = f"_{part.number}" if several else ""
    title = f"Cells by {label(part.objective.metric)}"
    if several:
        title += f", {part.dataset or 'unknown data set'} (protocol {part.number})"
    comparison = compare(part)
    cells = tables.cells_table(part, title)
    matches = match(part.trials, part.objective, published)
    shown = {
        "table": _write_table(folder, f"cells{suffix}", cells, cells_frame(part)),
        "pairs": None,
        "robustness": None,
        "published": None,
    }
    if comparison.pairs:
        table, frame = evidence.pairs_table(comparison), evidence.pairs_frame(comparison)
        shown["pairs"] = _write_table(folder, f"pairs{suffix}", table, frame)
        lost = [row for cell in part.cells if (row := robustness(cell, part.objective))]
        table = evidence.robustness_table(lost, part.objective.metric)
        frame = evidence.robustness_frame(lost)
        shown["robustness"] = _write_table(folder, f"robustness{suffix}", table, frame)
    if matches:
        table = evidence.published_table(matches)
        shown["published"] = _write_table(folder, f"published{suffix}", table)
    by_trials, by_hours = (overview.budget_curves(part, hours=hours) for hours in (False, True))
    parallel = overview.parallel_figure(part)
    if parallel is not None:  # the page has one that can be brushed
        _save_figure(folder, f"parallel{suffix}", parallel)
    return {
        "part": part,
        "title": title,
        "answer": answer(part, comparison),
        "comparability": comparability(part),
        **shown,
        **{
            name: write_figure(folder, name + suffix, alt, functools.partial(draw, part))
            for name, (alt, draw) in _FIGURES.items()
        },
        "budget": write_figure(
            folder,
            f"budget{suffix}",
            "Best so far against trials and device hours",
            functools.partial(overview.budget_figure, part, by_trials, by_hours),
        ),
        "effects": _write_effects(part, suffix, folder),
        "plots": plots(part, by_trials),
        "grids": _grids(part),
        "animation": _animation(part, folder / "figures" / f"training{suffix}.gif"),
        "facts": _facts(part),
    }


def _write_table(
    folder: Path, name: str, table: tables.Table, frame: pd.DataFrame | None = None
) -> tables.Table:
    stem = folder / "tables" / name
    if frame is None:
        rows = [[entry.text for entry in row] for row in table.rows]
        frame = pd.DataFrame(rows, columns=[column.heading for column in table.columns])
    files.write_text(stem.with_suffix(".csv"), to_csv(frame))
    files.write_text(stem.with_suffix(".md"), tables.to_markdown(table))
    files.write_text(stem.with_suffix(".tex"), tables.to_latex(table))
    return table


def write_figure(
    folder: Path, name: str, alt: str, draw: Callable[[drawing.Theme], Figure | None]
) -> Picture | None:
    """Draw a figure, write it as SVG and PNG and return it for the page; None for none."""
    light = draw(drawing.LIGHT)
    if light is None:
        return None
    drawn = [_save_figure(folder, name, light)]
    dark = draw(drawing.DARK)
    drawn += [drawing.render(dark, "svg")] if dark is not None else []
    return Picture(alt, *(data_uri(content, "image/svg+xml") for content in drawn))


def _save_figure(folder: Path, name: str, figure: Figure) -> bytes:
    """Write a figure as SVG and PNG; return the former."""
    drawn = {kind: drawing.render(figure, kind) for kind in ("svg", "png")}
    for kind, content in drawn.items():
        files.write_bytes(folder / "figures" / f"{name}.{kind}", content)
    return drawn["svg"]


def _write_effects(part: Part, suffix: str, folder: Path) -> Picture | None:
    effects = factor_effects(part)
    if not effects:
        return None
    frame = pd.DataFrame({"factor": list(effects), "share": list(effects.values())})
    files.write_text(folder / "tables" / f"effects{suffix}.csv", to_csv(frame))
    draw = functools.partial(overview.effects_figure, effects)
    return write_figure(folder, f"effects{suffix}", "Share of the variance by factor", draw)


def _grids(part: Part) -> list[Grid]:
    """Return the samples of each cell's best trial, then of the median and the worst of all."""
    chosen = [(cell.name, cell.best) for cell in part.cells if cell.best]
    ranked = sorted(part.ranked, key=lambda trial: trial.cost(part.objective))
    if len(ranked) > 2:
        chosen.append((f"median trial, {ranked[len(ranked) // 2].cell}", ranked[len(ranked) // 2]))
        chosen.append((f"worst trial, {ranked[-1].cell}", ranked[-1]))
    return [grid for name, trial in chosen if (grid := _grid(name, trial, part)) is not None]


def _grid(name: str, trial: Trial, part: Part) -> Grid | None:
    step = trial.best_step if part.objective.at == "best" else None
    found = sample_grid(trial, step)
    if found is None:
        return None
    shown, path = found
    value = f"{label(part.objective.metric)} {number(trial.objective)}"
    picture = Picture(f"Samples of {name}", data_uri(path.read_bytes(), "image/png"))
    return Grid(f"{name}: {value}, samples at step {shown}", picture)


def _animation(part: Part, path: Path) -> Picture | None:
    """Write the sample grids of the best trial over training as a GIF; None with too few."""
    best = next((cell.best for cell in part.cells if cell.best), None)
    grids = step_files(best.folder / "samples") if best else {}
    if len(grids) < 3:
        return None
    frames = []
    for step in sorted(grids):
        with Image.open(grids[step]) as image:
            frames.append(image.convert("RGB"))
    path.parent.mkdir(parents=True, exist_ok=True)
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=_FRAME_MS, loop=0)
    return Picture(
        "Samples of the best trial over training", data_uri(path.read_bytes(), "image/gif")
    )


def _facts(part: Part) -> list[tuple[str, str]]:
    """Return how the part's figures were measured."""
    if not part.ranked:
        return []
    measured = part.ranked[0].facts
    facts = [("data set", part.dataset or "unknown"), *sorted(measured.items())]
    return [*facts, ("protocol", part.protocol or "unknown")]


def to_csv(frame: pd.DataFrame) -> str:
    """Return a frame as CSV with the same bytes on every system."""
    text: str = frame.to_csv(index=False, lineterminator="\n")
    return text


def data_uri(content: bytes, kind: str) -> str:
    """Return a file as a link that holds it whole."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
