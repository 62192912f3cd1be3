"""The documentation says what is: its commands parse, its code runs, its list is the code's."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from gan_bench import config as configs
from gan_bench import listing
from gan_bench.cli import VERBS, main
from gan_bench.registry import REGISTRIES
from gan_bench.report.aggregate import split_parts
from gan_bench.report.compare import robustness
from gan_bench.report.naming import number
from gan_bench.report.study import read_study
from gan_bench.sweep import load_study

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OWN = (
    *("study", "run_dir", "images", "reference", "against", "analysis", "seed"),
    *("engine", "checkpoint", "plugins", "hydra/sweeper", "fork", "probe", "retry_failed"),
    *("scale", "report_dir", "top"),
    *("settings.", "budget.", "stop.", "retries.", "early_stopping."),
)


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


COMMANDS = [
    pytest.param(words[1:], id=" ".join(words[1:])[:60])
    for page in PAGES
    for block in (*blocks(page, "bash"), *blocks(page, "sh"))
    for line in block.splitlines()
    if (words := shlex.split(line, comments=True)) and words[0].endswith("gan-bench")
]


@pytest.mark.parametrize("words", COMMANDS)
def test_commands_are_ones_that_exist_and_their_overrides_compose(words: list[str]):
    verb, *rest = words
    assert verb in VERBS
    if verb == "list":
        return
    overrides = [w for w in rest if "=" in w and not w.startswith((*OWN, "hydra."))]
    multirun = "--multirun" in rest
    fields = [w for w in overrides if not (multirun and re.search(r"[,(]", w))]
    if "plugins" in " ".join(rest):
        fields = [w for w in fields if not w.startswith("loss")]  # of the page's own loss
    configs.compose(fields)


def test_the_list_of_parts_is_what_the_code_lists():
    shipped = listing.as_markdown(REGISTRIES.values())
    assert (ROOT / "docs" / "parts.md").read_text() == shipped, (
        "run: gan-bench list --markdown > docs/parts.md"
    )


def test_the_loss_of_the_readme_works(tmp_path: Path):
    """In a process of its own: a registered name stays."""
    (code,) = blocks(ROOT / "README.md", "python")
    # (2 - 1)^2 + (2 + 1)^2 for logits of 1 on both sides
    check = (
        "import torch\n"
        "loss = LOSSES.build('squared_margin', margin=2.0)\n"
        "assert loss.discriminator(torch.ones(3), torch.ones(3)).item() == 10\n"
    )
    (tmp_path / "my_loss.py").write_text(code + check)
    subprocess.run([sys.executable, str(tmp_path / "my_loss.py")], check=True)


def test_the_study_file_of_the_docs_is_a_study(tmp_path: Path):
    text, *_ = blocks(ROOT / "docs" / "studies.md", "yaml")
    (tmp_path / "my_study.yaml").write_text(text)
    study = load_study(str(tmp_path / "my_study.yaml"), [])
    assert len(study.cells) == 6
    assert study.total == 6 * (3 + 10)


@pytest.mark.slow
def test_the_evaluation_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    """Its commands and its code, in the order of the page, in one folder."""
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "evaluation.md").read_text()
    ran = 0
    for language, block in re.findall(r"```(bash|python)\n(.*?)```", text, re.DOTALL):
        if language == "python":
            exec(compile(block, "docs/evaluation.md", "exec"), {})
            ran += 1
        for line in block.splitlines() if language == "bash" else ():
            if words := shlex.split(line, comments=True):
                assert words[0] == "gan-bench"
                assert main([*words[1:], "device=cpu"]) == 0, capsys.readouterr().err
                ran += 1
    assert ran >= 9


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_between_pages_lead_somewhere(page: Path):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize(
    "name", ["loss_digits", "regularization_digits", "loss_mnist", "regularization_mnist"]
)
def test_the_small_study_page_quotes_its_trials(name: str):
    page = (ROOT / "docs" / "small_study.md").read_text()
    (part,) = split_parts(read_study(ROOT / "docs" / "small_study" / name))
    seeds = {(len(cell.trials) // len(cell.settings), len(cell.settings)) for cell in part.cells}
    assert seeds == {(3, 3), (3, 6)}
    for cell in part.cells:
        found = robustness(cell, part.objective)
        assert found is not None
        best, mean = number(cell.settings[0].median), number(found.iqm)
        row = (
            f"| {cell.name} | {len(cell.settings)} x 3 | {best} | {mean}, {number(found.iqm_low)} "
        )
        assert row in page, row
