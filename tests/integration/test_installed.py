"""The built wheel, outside of the repository: it carries its configs, studies and template."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_wheel_works_outside_the_repository(tmp_path: Path):
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "-q", "-w", tmp_path, ROOT],
        check=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    environment = {**os.environ, "PYTHONPATH": str(site)}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = run("-c", "import gan_bench; print(gan_bench.__file__)").strip()
    assert Path(where).is_relative_to(site), "the wheel's own package is what runs"
    overrides = [
        "training.steps=2", "evaluator.n_fake=64", "settings.bandit.trials=0",
        "settings.fixed=[{optimizer.lr: 1e-3}]", "study_dir=study",
    ]  # fmt: skip
    out = run("-m", "gan_bench", "sweep", "study=demo", *overrides)
    assert "(untrained generator)" in out
    assert (tmp_path / "study" / "report" / "report.html").exists()
