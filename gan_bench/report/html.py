"""Writes a report: trials.csv, tables, figures and the self-contained report.html."""

from __future__ import annotations

import functools
import html
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import jinja2
import pandas as pd
from itables.javascript import generate_init_offline_itables_html, to_html_datatable
from itables.utils import find_package_file

from gan_bench import files
from gan_bench.errors import GanBenchError, require
from gan_bench.report import overview
from gan_bench.report.aggregate import SHARE, Part, split_parts
from gan_bench.report.frames import trials_frame
from gan_bench.report.interactive import script
from gan_bench.report.merge import read_studies
from gan_bench.report.naming import label, plural, settings_text
from gan_bench.report.published import read_published
from gan_bench.report.section import Picture, build_section, to_csv, write_figure
from gan_bench.report.study import Study
from gan_bench.report.trial import Trial

_TEMPLATES = Path(__file__).parent / "templates"
_CODE = (".py", ".j2")
_INPUTS = ".inputs.json"


def write_report(
    study_dir: Path | Sequence[Path], folder: Path | None = None, *, share: float = SHARE
) -> Path:
    """Write the report of a study, or of several together.

    Trials that were measured under different protocols get a section, tables and figures each.
    Nothing is written again while the trials are the same.

    Args:
        study_dir: One or more study directories; studies may still be running.
        folder: Where to; if not given, `report` in the (first) study directory.
        share: What counts as the top of a cell's settings.

    Returns:
        The path of report.html.

    Raises:
        StudyError: There is no such study, its study.yaml is unreadable, or several don't fit.
        ConfigError: The share is not in (0, 1].
        StorageError: The report can't be written.
    """
    require(0 < share <= 1, f"top is {share}; it must be above 0 and at most 1")
    folders = [study_dir] if isinstance(study_dir, Path) else list(study_dir)
    study = read_studies(folders)
    parts = split_parts(study, share)
    folder = folder or folders[0] / "report"
    table = to_csv(trials_frame(study))
    path = folder / "report.html"
    inputs = _digest(table, study, share)
    if path.exists() and _written_from(folder) == inputs:
        return path
    files.write_text(folder / "trials.csv", table)
    published = read_published()
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html.j2").render(
        study=study,
        folders=[str(each) for each in folders],
        sections=[build_section(part, len(parts) > 1, folder, published) for part in parts],
        ranks=_ranks(parts, folder),
        summary=_summary(study),
        trials=_trials_table(study, folder),
        plotly=script() if any(trial.ranked for trial in study.trials) else "",
        lost=[trial for trial in study.trials if trial.status in ("diverged", "failed")],
        machines=_machines(study),
        settings_text=settings_text,
        share=f"{share:.3g}" if share != SHARE else "",
    )
    files.write_text(path, page)
    files.write_json(folder / _INPUTS, {"digest": inputs})
    return path


def _digest(table: str, study: Study, share: float) -> str:
    """Hash what a report is made of and the code that makes it: unchanged, it stays as it is."""
    code = [
        path.read_text() for path in sorted(_TEMPLATES.parent.rglob("*")) if path.suffix in _CODE
    ]
    return files.digest(
        [table, study.name, study.base, study.baselines, study.problems, share, code]
    )


def _written_from(folder: Path) -> str | None:
    try:
        found = files.read_json(folder / _INPUTS, what="report's inputs")
    except GanBenchError:
        return None
    return str(found.get("digest")) if isinstance(found, dict) else None


def _ranks(parts: list[Part], folder: Path) -> Picture | None:
    """Draw average ranks where the same cells were compared on several data sets."""
    average = overview.ranks(parts)
    if not average:
        return None
    draw = functools.partial(overview.ranks_figure, average, len(parts))
    return write_figure(folder, "ranks", "Average ranks over data sets", draw)


def _trials_table(study: Study, folder: Path) -> str:
    """Return the table of all trials, which sorts and filters, with the script that does it."""
    if not study.trials:
        return ""
    name = label(study.objective.metric)
    rows = [
        {
            "Trial": _link(trial.folder, trial.trial_id, folder),
            "Cell": html.escape(trial.cell),
            "Status": html.escape(trial.status),
            name: trial.objective,
            "Best at": trial.best_step,
            "D steps": trial.counts.get("d_steps"),
            "Training, s": trial.seconds.get("train"),
            "Seed": trial.seed,
            "Source": html.escape(trial.source or ""),
            "Settings": html.escape(settings_text(trial.settings)),
            "Files": _files(trial, folder),
        }
        for trial in study.trials
    ]
    table: str = to_html_datatable(
        pd.DataFrame(rows),
        connected=False,
        table_id="trials",
        showIndex=False,
        allow_html=True,
        maxBytes=0,
        column_filters="header",
        display_logo_when_loading=False,
        pageLength=25,
        classes="display compact",
        style="width:100%",
    )
    bundle = generate_init_offline_itables_html(find_package_file("html/dt_bundle.js"))
    return bundle + table


def _link(target: Path, text: str, folder: Path) -> str:
    """Return a link that is relative to the report, so that both can be moved together."""
    path = quote(Path(os.path.relpath(target, folder)).as_posix())
    return f'<a href="{html.escape(path)}">{html.escape(text)}</a>'


def _files(trial: Trial, folder: Path) -> str:
    known = (("samples", "samples"), ("config.yaml", "config"), ("train.jsonl", "curves"))
    found = [(trial.folder / name, text) for name, text in known if (trial.folder / name).exists()]
    return " ".join(_link(path, text, folder) for path, text in found)


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
