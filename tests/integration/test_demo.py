"""The demo study as `make demo` runs it, whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gan_bench.cli import main
from gan_bench.report import compare_cells


@pytest.mark.slow
def test_the_demo_learns_digits_and_reports_it(tmp_path: Path):
    folder = tmp_path / "demo"
    assert main(["demo", f"study_dir={folder}"]) == 0
    cells = compare_cells(folder)
    assert len(cells) == 6 and cells.trials.sum() == 30
    baselines = json.loads((folder / "baselines.json").read_text())
    untrained, real = (baselines[name]["fid_digits_cnn"] for name in ("untrained", "real"))
    assert real < cells.best.min() < untrained / 5
    page = (folder / "report" / "report.html").read_text()
    grids = page.count('<img src="data:image/png;base64,')
    assert grids == len(cells) + 2, "a sample grid of each cell's best, the median and the worst"
