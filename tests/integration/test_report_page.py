"""The report's page in a real browser, and its tables through a real LaTeX."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))
from study_builder import StudyBuilder  # noqa: E402

from gan_bench.report import write_report

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
TRIALS = 5000


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of 5,000 trials in 8 cells, a tenth of them diverged."""
    study = StudyBuilder(tmp_path_factory.mktemp("browser") / "study")
    rng = random.Random(0)
    names = [f"loss_{i}/none" for i in range(8)]
    for name in names:
        study.cell(name, loss=name.partition("/")[0], method="none")
    for i in range(TRIALS):
        settings = {
            "optimizer.lr": 10 ** rng.uniform(-5, -2),
            "training.n_disc": rng.choice([1, 5]),
        }
        diverged = rng.random() < 0.1
        trial = study.trial(
            names[i % 8], None if diverged else rng.lognormvariate(3 + 0.05 * (i % 8), 0.4),
            settings, status="diverged" if diverged else "completed",
            error="a loss became NaN" if diverged else None, kid_mean_digits_cnn=rng.random(),
        )  # fmt: skip
    study.curves(trial, [60.0, 40.0, 24.0])
    study.grid(trial, 400)
    return write_report(study.folder)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here")
    with api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(params=[("light", 1200), ("dark", 1200), ("light", 390)], ids=str)
def page(report: Path, browser: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    scheme, width = request.param
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True
    )
    found = context.new_page()
    found.faults, found.loads = [], []
    found.on("console", lambda m: m.type == "error" and found.faults.append(m.text))
    found.on("pageerror", lambda error: found.faults.append(str(error)))
    found.on("request", lambda r: found.loads.append(r.url))
    found.goto(report.as_uri())
    found.wait_for_selector("#trials tbody tr td a", timeout=120_000)
    yield found
    context.close()


def rows(page: Any) -> int:
    """How many rows the table says that it shows."""
    info = page.inner_text(".dt-info")
    return int(re.search(r"of ([\d,]+)", info)[1].replace(",", ""))  # type: ignore[index]


def test_it_opens_from_disk_and_loads_nothing(page: Any, report: Path) -> None:
    assert page.faults == []
    assert {urllib.parse.urlparse(url).scheme for url in page.loads} <= {"file", "data", "blob"}
    assert [url for url in page.loads if url.startswith("file:")] == [report.as_uri()]
    wide, window = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert wide <= window, "the page scrolls sideways"
    assert page.locator(".js-plotly-plot").count() == 4
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    assert (paper == "rgb(255, 255, 255)") == (not dark)


def test_the_table_sorts_and_filters_5000_trials_within_a_second(page: Any) -> None:
    assert rows(page) == TRIALS
    seconds = page.evaluate(
        """() => {
          const head = document.querySelectorAll('#trials thead th')[3];
          const start = performance.now();
          (head.querySelector('.dt-column-order') || head).click();
          return (performance.now() - start) / 1000;
        }"""
    )
    assert seconds < 1
    seconds = page.evaluate(
        """() => {
          const field = document.querySelector('.trials input[type=search]');
          const start = performance.now();
          field.value = 'diverged';
          field.dispatchEvent(new Event('input', {bubbles: true}));
          return (performance.now() - start) / 1000;
        }"""
    )
    page.wait_for_function(
        "!document.querySelector('.dt-info').innerText.includes('to 25 of 5,000')"
    )
    assert seconds < 1
    assert 0 < rows(page) < TRIALS / 5


def test_a_point_names_its_trial_and_a_click_finds_it(page: Any) -> None:
    place = page.evaluate(
        """() => {
          const plot = document.querySelector('[id^=plot-trials]');
          const trace = plot.data[0];
          return [trace.text[0], trace.customdata[0]];
        }"""
    )
    assert f"<b>{place[1]}</b>" in place[0] and "lr=" in place[0]
    page.evaluate("trial => find(trial)", place[1])
    page.wait_for_function("document.querySelector('.dt-info').innerText.includes('1 to 1')")
    assert page.inner_text("#trials tbody tr td a") == place[1]


def test_its_links_lead_to_files(page: Any, report: Path) -> None:
    links = page.eval_on_selector_all(
        "#trials tbody a", "all => all.map(a => a.getAttribute('href'))"
    )
    assert len(links) >= 25
    for link in links:
        assert (report.parent / urllib.parse.unquote(link)).exists(), link


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no LaTeX here")
def test_the_latex_tables_compile(report: Path, tmp_path: Path) -> None:
    tables = sorted((report.parent / "tables").glob("*.tex"))
    assert {path.stem for path in tables} >= {"cells", "pairs", "robustness"}
    body = "\n\n".join(
        rf"\resizebox{{\linewidth}}{{!}}{{\input{{{p.as_posix()}}}}}" for p in tables
    )
    (tmp_path / "t.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs,graphicx}\n"
        f"\\begin{{document}}\n{body}\n\\end{{document}}\n"
    )
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-1500:]
    assert (tmp_path / "t.pdf").stat().st_size > 5000


def test_a_second_report_of_the_same_trials_is_at_hand_at_once(report: Path) -> None:
    before = report.stat().st_mtime_ns
    assert write_report(report.parent.parent) == report
    assert report.stat().st_mtime_ns == before
    log = report.parent.parent / "trials.jsonl"
    with log.open("a") as stream:
        stream.write(json.dumps({"event": "proposed", "trial_id": "new", "cell": "x"}) + "\n")
    write_report(report.parent.parent)
    assert report.stat().st_mtime_ns != before
