"""Tables for readers, in Markdown and LaTeX; the page shows the same ones."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gan_bench.report.aggregate import Cell, Part, medians
from gan_bench.report.frames import metric_keys
from gan_bench.report.naming import arrow, label, number, settings_text
from gan_bench.report.study import Study
from gan_bench.report.trial import Trial


@dataclass(frozen=True)
class Column:
    """A column: its heading and whether it holds numbers."""

    heading: str
    numeric: bool = True


@dataclass(frozen=True)
class Entry:
    """What stands in a table: the text, and the number to sort by if it is one."""

    text: str
    value: float | None = None


@dataclass(frozen=True)
class Table:
    """A table with its title and the notes below it."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Entry, ...], ...]
    notes: tuple[str, ...] = ()


def cells_table(part: Part, title: str) -> Table:
    """Build the per-cell table of a part."""
    objective = part.objective
    name = f"{label(objective.metric)} {'↓' if objective.mode == 'min' else '↑'}"
    keys = metric_keys(part)
    optional = {
        status: {"unreadable": "unreadable (no result)", "stopped": "stopped early"}.get(
            status, status
        )
        for status in ("stopped", "unreadable", "unfinished")
        if any(_count(cell, status) for cell in part.cells)
    }
    columns = (
        Column("Cell", numeric=False),
        Column(f"Best {name}"),
        Column("Top 5%: median"),
        Column("Top 5%: range", numeric=False),
        Column("Top 5%: count"),
        Column("Best setting: median over seeds"),
        Column("Its seeds"),
        *(Column(f"{label(key)} {arrow(key)}".strip()) for key in keys),
        Column("Best at G step"),
        Column("G steps"),
        Column("D steps"),
        Column("Trials"),
        Column("Completed"),
        Column("Diverged"),
        Column("Failed"),
        *(Column(heading.capitalize()) for heading in optional.values()),
        Column("Settings tried"),
        Column("Settings of the best trial", numeric=False),
    )
    rows = tuple(_cell_entries(cell, part, keys, list(optional)) for cell in part.cells)
    return Table(title, columns, rows, cells_notes(part))


def _cell_entries(
    cell: Cell, part: Part, keys: list[str], optional: list[str]
) -> tuple[Entry, ...]:
    top = medians(cell.top)
    setting, best = cell.best_setting, cell.best
    measured = best.measured(part.objective) if best else {}
    counts = best.counts if best else {}
    return (
        Entry(cell.name),
        _numeric(best.objective if best else None),
        _numeric(statistics.median(top) if top else None),
        Entry(f"{number(min(top))} to {number(max(top))}" if top else "–"),
        _numeric(len(top)),
        _numeric(setting.median if setting else None),
        _numeric(setting.seeds if setting else None),
        *(_numeric(measured.get(key)) for key in keys),
        _numeric(best.best_step if best and part.objective.at == "best" else counts.get("g_steps")),
        _numeric(counts.get("g_steps")),
        _numeric(counts.get("d_steps")),
        _numeric(len(cell.trials)),
        _numeric(cell.count("completed")),
        _numeric(cell.count("diverged")),
        _numeric(cell.count("failed")),
        *(_numeric(_count(cell, status)) for status in optional),
        _numeric(cell.n_settings),
        Entry(settings_text(best.settings) if best else "–"),
    )


def _count(cell: Cell, status: str) -> int:
    if status == "unfinished":
        return cell.unfinished
    return cell.count(status)


def cells_notes(part: Part) -> tuple[str, ...]:
    """Say how the per-cell table was computed."""
    at = (
        "the best over its evaluations"
        if part.objective.at == "best"
        else "the value at the end of training"
    )
    return (
        f"A trial's value is {at}. Top 5%: of a cell's settings, each by its median "
        "over seeds (a diverged seed counts as the worst), n / 20 rounded up, so at least one.",
        "Best setting: the best median over the seeds of one setting; a diverged seed counts as "
        "the worst. Settings with less than half as many seeds as the most repeated setting of "
        "the cell are passed over.",
        "The metrics beside it are those of the cell's best trial at the same step. Steps are "
        "G steps; D steps are given beside them, and a setting with more D steps per G step "
        "costs more.",
    )


def trials_table(study: Study) -> Table:
    """Build the table of all trials."""
    columns = (
        Column("Trial", numeric=False),
        Column("Cell", numeric=False),
        Column("Status", numeric=False),
        Column(label(study.objective.metric)),
        Column("Best at G step"),
        Column("G steps"),
        Column("D steps"),
        Column("Training, s"),
        Column("Seed"),
        Column("Source", numeric=False),
        Column("Settings", numeric=False),
    )
    return Table("All trials", columns, tuple(_trial_entries(trial) for trial in study.trials))


def _trial_entries(trial: Trial) -> tuple[Entry, ...]:
    return (
        Entry(trial.trial_id),
        Entry(trial.cell),
        Entry(trial.status),
        _numeric(trial.objective),
        _numeric(trial.best_step),
        _numeric(trial.counts.get("g_steps")),
        _numeric(trial.counts.get("d_steps")),
        _numeric(trial.seconds.get("train")),
        _numeric(trial.seed),
        Entry(trial.source or "–"),
        Entry(settings_text(trial.settings) or "–"),
    )


def _numeric(value: float | None) -> Entry:
    return Entry(number(value), value)


def to_markdown(table: Table) -> str:
    """Write a table as Markdown, its notes below it."""
    lines = [
        f"### {_markdown(table.title)}",
        "",
        _pipes(column.heading for column in table.columns),
        _pipes("---:" if column.numeric else ":---" for column in table.columns),
        *(_pipes(_markdown(entry.text) for entry in row) for row in table.rows),
        "",
        *(f"- {note}" for note in table.notes),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _pipes(cells: Any) -> str:
    return "| " + " | ".join(cells) + " |"


_MARKDOWN = str.maketrans(
    {"\\": "\\\\", "|": "\\|", "*": "\\*", "`": "\\`", "<": "&lt;", ">": "&gt;"} | {"\n": " "}
)


def _markdown(text: str) -> str:
    # Underscores inside words need no escape, and names such as non_saturating stay legible.
    return text.translate(_MARKDOWN)


def to_latex(table: Table) -> str:
    """Write a table as a LaTeX tabular with booktabs rules; title and notes are comments."""
    settings = len(table.columns) - 1
    layout = "".join(
        "r" if column.numeric else "l" if i < settings else "p{4cm}"
        for i, column in enumerate(table.columns)
    )
    lines = [
        r"% needs \usepackage{booktabs}",
        *_comment(table.title),
        *(line for note in table.notes for line in _comment(note)),
        rf"\begin{{tabular}}{{{layout}}}",
        r"\toprule",
        _ampersands(column.heading for column in table.columns),
        r"\midrule",
        *(_ampersands(entry.text for entry in row) for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _comment(text: str) -> list[str]:
    return [f"% {line}" for line in text.splitlines()]


def _ampersands(cells: Any) -> str:
    return " & ".join(escape_latex(text) for text in cells) + r" \\"


_LATEX: Mapping[str, str] = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "[": "{[}",  # a row that opens with one would be read as the argument of \\
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "–": "--",
    "\n": " ",
}


def escape_latex(text: str) -> str:
    """Escape what LaTeX would take for a command."""
    return "".join(_LATEX.get(character, character) for character in text)
