"""The house rules that a machine can hold: who imports whom, and how long a file may be."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import gan_bench

PACKAGE = Path(gan_bench.__file__).parent
ROOT = PACKAGE.parent
MODULES = sorted(PACKAGE.rglob("*.py")) + sorted((ROOT / "hydra_plugins").rglob("*.py"))

# A module imports its own layer's number or a lower one; within the layers named in APART the
# members do not import each other either.
LAYERS = {
    "errors": 0, "interfaces": 0, "files": 0, "registry": 0, "listing": 0, "schema": 0,
    "metric_keys": 0, "signals": 0, "piecewise": 0, "precision": 0,
    "losses": 1, "regularizers": 1, "normalizers": 1, "architectures": 1, "data": 1, "config": 1,
    "training": 2, "evaluation": 2,
    "hardware": 3, "samples": 3, "overfitting": 3, "measure": 3, "result": 3, "run": 3,
    "together": 3, "analyses": 3,
    "listener": 3, "trackers": 3,
    "sweep": 4,
    "report": 5,
    "terminal": 6, "cli": 6, "__main__": 6,
}  # fmt: skip
APART = (1, 2)
MAY_IMPORT_HYDRA = ("cli", "config", "registry", "sweep")
MAX_LINES, MAX_FUNCTION_LINES = 400, 60


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_modules() -> list[Path]:
    return [path for path in MODULES if PACKAGE in path.parents and path.parent != PACKAGE or (
        path.parent == PACKAGE and path.name != "__init__.py"
    )]  # fmt: skip


@pytest.mark.parametrize("path", own_modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_downwards(path: Path):
    part = part_of(path)
    for name in imports(path):
        pieces = name.split(".")
        if pieces[0] != "gan_bench" or len(pieces) < 2 or pieces[1] not in LAYERS:
            continue
        other = pieces[1]
        assert LAYERS[other] <= LAYERS[part], f"{part} imports {other}"
        if other != part and LAYERS[other] == LAYERS[part]:
            assert LAYERS[part] not in APART, f"{part} imports {other}"


@pytest.mark.parametrize("path", own_modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_the_config_side_knows_hydra(path: Path):
    if part_of(path) not in MAY_IMPORT_HYDRA:
        assert not any(name.split(".")[0] == "hydra" for name in imports(path))


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_stay_short(path: Path):
    text = path.read_text()
    assert len(text.splitlines()) <= MAX_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            length = node.end_lineno - body[0].lineno + 1 if body else 0
            assert length <= MAX_FUNCTION_LINES, f"{node.name} has {length} lines"


@pytest.mark.parametrize("path", own_modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_the_command_line_prints(path: Path):
    if part_of(path) in ("cli", "terminal"):
        return
    calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
    assert not any(isinstance(c.func, ast.Name) and c.func.id == "print" for c in calls)
