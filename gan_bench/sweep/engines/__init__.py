"""Engines by name."""

from __future__ import annotations

from collections.abc import Callable

from gan_bench.errors import ConfigError, unknown
from gan_bench.sweep.engines.base import Ended, Engine, TrialFunction
from gan_bench.sweep.engines.inline import InlineEngine

__all__ = ["ENGINES", "Ended", "Engine", "InlineEngine", "TrialFunction", "build_engine"]

ENGINES: dict[str, Callable[[], Engine]] = {"inline": InlineEngine}
_PLANNED = ("local", "slurm", "ray")


def build_engine(name: str) -> Engine:
    """Build an engine.

    Args:
        name: inline.

    Raises:
        ConfigError: The engine is unknown or not available in this version.
    """
    if name in _PLANNED:
        raise ConfigError(
            f"engine '{name}' is not available in this version; use engine=inline "
            "(one trial at a time, in this process)"
        )
    if name not in ENGINES:
        raise unknown("engine", name, ENGINES)
    return ENGINES[name]()
