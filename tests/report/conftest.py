"""Shared by the report's tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from study_builder import StudyBuilder


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., StudyBuilder]:
    """Start a study directory below tmp_path."""

    def start(name: str = "study", objective: dict[str, str] | None = None) -> StudyBuilder:
        return StudyBuilder(tmp_path / name, objective)

    return start
