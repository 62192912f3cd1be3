"""Writes a study's report: trials.csv, tables, figures and the self-contained report.html."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from matplotlib.figure import Figure

from gan_bench import files
from gan_bench.report import figures, tables
from gan_bench.report.aggregate import Part, split_parts
from gan_bench.report.answer import answer, comparability
from gan_bench.report.frames import cells_frame, trials_frame
from gan_bench.report.naming import label, number, plural, settings_text
from gan_bench.report.study import Study, Trial, read_study, sample_grid

_TEMPLATES = Path(__file__).parent / "templates"


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


def write_report(study_dir: Path) -> Path:
    """Write the report of a study into its folder `report`.

    Trials that were measured under different protocols get a section, table and figure each.
    Written again from the same study, the files have the same bytes.

    Args:
        study_dir: A study directory; the study may still be running.

    Returns:
        The path of report.html.

    Raises:
        StudyError: There is no such study, or its study.yaml is unreadable.
        StorageError: The report can't be written.
    """
    study = read_study(study_dir)
    parts = split_parts(study)
    folder = study_dir / "report"
    files.write_text(folder / "trials.csv", _csv(trials_frame(study)))
    sections = [_section(part, len(parts) > 1, folder) for part in parts]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html.j2").render(
        study=study,
        sections=sections,
        summary=_summary(study),
        trials=tables.trials_table(study),
        lost=[trial for trial in study.trials if trial.status in ("diverged", "failed")],
        machines=_machines(study),
        settings_text=settings_text,
    )
    path = folder / "report.html"
    files.write_text(path, page)
    return path


def _section(part: Part, several: bool, folder: Path) -> dict[str, Any]:
    """Write a part's tables and figures, and return what the page shows of it."""
    suffix = f"_{part.number}" if several else ""
    title = f"Cells by {label(part.objective.metric)}"
    if several:
        title += f", {part.dataset or 'unknown data set'} (protocol {part.number})"
    table = tables.cells_table(part, title)
    stem = folder / "tables" / f"cells{suffix}"
    files.write_text(stem.with_suffix(".csv"), _csv(cells_frame(part)))
    files.write_text(stem.with_suffix(".md"), tables.to_markdown(table))
    files.write_text(stem.with_suffix(".tex"), tables.to_latex(table))
    return {
        "part": part,
        "title": title,
        "answer": answer(part),
        "comparability": comparability(part),
        "table": table,
        "top": _figure(part, "top5", suffix, folder),
        "curves": _figure(part, "curves", suffix, folder),
        "grids": _grids(part),
        "facts": _facts(part),
    }


def _figure(part: Part, name: str, suffix: str, folder: Path) -> Picture | None:
    draw = {"top5": figures.top_figure, "curves": figures.curves_figure}[name]
    alt = {
        "top5": "Distribution of the trials of each cell, the top 5% in colour",
        "curves": "Losses and evaluations of the best trial of each cell over training",
    }[name]
    light, dark = draw(part, figures.LIGHT), draw(part, figures.DARK)
    if light is None or dark is None:
        return None
    for kind in ("svg", "png"):
        path = folder / "figures" / f"{name}{suffix}.{kind}"
        files.write_bytes(path, figures.render(light, kind))
    return Picture(alt, _svg(light), _svg(dark))


def _svg(figure: Figure) -> str:
    return _data_uri(figures.render(figure, "svg"), "image/svg+xml")


def _grids(part: Part) -> list[Grid]:
    found = []
    for cell in part.cells:
        best = cell.best
        step = best.best_step if best and part.objective.at == "best" else None
        grid = sample_grid(best, step) if best else None
        if best is None or grid is None:
            continue
        shown, path = grid
        caption = (
            f"{cell.name}: {label(part.objective.metric)} {number(best.objective)}, "
            f"samples at step {shown}"
        )
        picture = Picture(f"Samples of {cell.name}", _data_uri(path.read_bytes(), "image/png"))
        found.append(Grid(caption, picture))
    return found


def _facts(part: Part) -> list[tuple[str, str]]:
    """Return how the part's figures were measured."""
    measured = next((trial for trial in part.trials if trial.ranked), None)
    if measured is None:
        return []
    facts = [("data set", part.dataset or "unknown"), *sorted(measured.facts.items())]
    return [*facts, ("protocol", part.protocol or "unknown")]


def _summary(study: Study) -> str:
    counts: dict[str, int] = {}
    for trial in study.trials:
        counts[trial.status] = counts.get(trial.status, 0) + 1
    states = ", ".join(f"{n} {status}" for status, n in sorted(counts.items()))
    return f"{plural(len(study.trials), 'trial')}" + (f": {states}" if states else "")


def _machines(study: Study) -> list[str]:
    """Return each combination of device and versions that trials ran on."""

    def describe(trial: Trial) -> str:
        versions = ", ".join(f"{name} {version}" for name, version in trial.versions.items())
        return f"{trial.device or 'unknown device'}; {versions}"

    return list(dict.fromkeys(describe(trial) for trial in study.trials if trial.versions))


def _csv(frame: pd.DataFrame) -> str:
    text: str = frame.to_csv(index=False, lineterminator="\n")
    return text


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
