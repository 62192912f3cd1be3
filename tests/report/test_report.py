"""The report's files: complete, self-contained, the same bytes each time, whatever is missing."""

from __future__ import annotations

import csv
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image
from study_builder import StudyBuilder

from gan_bench.errors import StudyError
from gan_bench.report import write_report
from gan_bench.report.tables import escape_latex

FILES = (
    "report.html", "trials.csv", "tables/cells.csv", "tables/cells.md", "tables/cells.tex",
    "tables/pairs.csv", "tables/pairs.md", "tables/pairs.tex", "tables/robustness.tex",
    *(f"figures/{name}.{kind}" for name in ("top5", "budget", "parallel", "curves")
      for kind in ("svg", "png")),
)  # fmt: skip


class Page(HTMLParser):
    """Collects what a page would load, and its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.text = ""
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if tag == "img":
            self.images.append(found)
        if tag != "a":
            self.loads += [found[k] for k in ("src", "srcset", "href", "data") if found.get(k)]

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def full(build):
    return fill(build())


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the same study, written once for those that only read it."""
    return write_report(fill(StudyBuilder(tmp_path_factory.mktemp("full") / "study")).folder)


def fill(study: StudyBuilder) -> StudyBuilder:
    """Two cells: seven trials that completed, one more, one that diverged; and baselines."""
    for cell in ("hinge/none", "wasserstein/gradient_penalty"):
        loss, method = cell.split("/")
        study.cell(cell, loss=loss, method=method)
    for i in range(7):
        best = study.trial("hinge/none", 30.0 - i, {"optimizer.lr": 1e-4 * (i + 1)})
    study.curves(best, [60.0, 40.0, 24.0])
    study.grid(best, 400)
    study.trial("wasserstein/gradient_penalty", 50.0)
    study.trial(
        "wasserstein/gradient_penalty", None, {"optimizer.lr": 9.0}, status="diverged",
        error="a <b>loss</b> became NaN",
    )  # fmt: skip
    study.baselines(untrained=80.0, real=1.5)
    return study


def test_all_files_are_written_and_the_same_input_gives_the_same_bytes(full):
    folder = write_report(full.folder).parent
    first = {name: (folder / name).read_bytes() for name in FILES}
    (folder / ".inputs.json").unlink()  # else nothing would be written again
    write_report(full.folder)
    assert {name: (folder / name).read_bytes() for name in FILES} == first
    for name in FILES:
        if name.endswith(".png"):
            Image.open(io.BytesIO(first[name])).verify()


def test_the_page_needs_nothing_else_and_every_picture_has_a_text(report: Path):
    page = Page(report)
    assert all(load.startswith("data:") for load in page.loads)
    assert len(page.images) == 5  # top 5%, budget, settings by cell, grid, curves
    assert all(image.get("alt") for image in page.images)
    assert "@import" not in page.rawdata and "url(" not in page.rawdata


def test_the_answer_comes_first_and_is_read_against_the_baselines(report: Path):
    text = " ".join(Page(report).text.split())
    answer = text.index("Best trial: hinge/none, FID (digits_cnn) 24")
    assert answer < text.index("Cells, best first") < text.index("All trials")
    assert "An untrained generator has 80: the best is at 30.0% of it." in text
    assert "have 1.500: the floor" in text
    assert "not comparable with published figures" in text
    assert "may be luck" in text


def test_text_from_trials_is_escaped(report: Path):
    page = report.read_text()
    assert "a &lt;b&gt;loss&lt;/b&gt; became NaN" in page and "<b>loss</b>" not in page


def test_trials_csv_has_a_row_for_each_trial(report: Path):
    rows = list(csv.DictReader((report.parent / "trials.csv").open()))
    assert len(rows) == 9
    assert rows[6]["objective"] == "24.0" and rows[6]["g_steps"] == "600"
    assert rows[8]["status"] == "diverged" and rows[8]["objective"] == ""
    assert float(rows[0]["settings.optimizer.lr"]) == 1e-4


def test_latex_is_escaped_and_balanced(report: Path):
    text = (report.parent / "tables" / "cells.tex").read_text()
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    columns = len(re.search(r"begin\{tabular\}\{(.*)\}$", text, re.M)[1].replace("p{4cm}", "p"))
    assert len(rows) == 3 and all(len(re.split(r"(?<!\\)&", row)) == columns for row in rows)
    assert r"gradient\_penalty" in text
    assert escape_latex("50% & a_b") == r"50\% \& a\_b"


def test_markdown_table_has_as_many_cells_in_each_row(report: Path):
    lines = (report.parent / "tables" / "cells.md").read_text().splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 4 and len({len(re.split(r"(?<!\\)\|", row)) for row in rows}) == 1


def test_a_study_that_has_only_begun(build):
    study = build()
    study.cell("a")
    study.propose("a")
    page = Page(write_report(study.folder))
    assert "No trial has completed" in page.text and "1 trial: 1 proposed" in page.text


def test_a_study_without_any_trial(build):
    study = build()
    study.cell("a")
    assert "0 trials" in Page(write_report(study.folder)).text


def test_all_diverged(build):
    study = build()
    study.cell("a")
    study.trial("a", None, status="diverged", error="a loss became NaN")
    assert "a loss became NaN" in Page(write_report(study.folder)).text


def test_a_damaged_result_is_named_and_not_ranked(full):
    study = full
    broken = study.trial("hinge/none", 1.0, {"optimizer.lr": 7.0})
    (study.folder / "trials" / broken / "result.json").write_text("{")
    with (study.folder / "trials.jsonl").open("a") as stream:
        stream.write('{"event": "propo')  # killed while writing
    text = Page(write_report(study.folder)).text
    assert f"trial {broken}: trials/{broken}/result.json is unreadable" in text
    assert "Best trial: hinge/none, FID (digits_cnn) 24" in text


def test_what_is_no_study_is_refused_in_one_line(tmp_path: Path):
    with pytest.raises(StudyError, match="there is no such folder"):
        write_report(tmp_path / "nowhere")
    with pytest.raises(StudyError, match="it has no study.yaml"):
        write_report(tmp_path)
    (tmp_path / "study.yaml").write_text("{ broken")
    with pytest.raises(StudyError, match="can't be read"):
        write_report(tmp_path)
    (tmp_path / "study.yaml").write_text("schema: 99\nname: x")
    with pytest.raises(StudyError, match="schema 99"):
        write_report(tmp_path)
