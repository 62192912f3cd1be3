"""Engines by name, imported when they are asked for: some need extras."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from gan_bench.errors import unknown
from gan_bench.sweep.engines.base import CAUSES, Ended, Engine, TrialFunction
from gan_bench.sweep.fields import read_fields

__all__ = [
    "CAUSES",
    "ENGINES",
    "Ended",
    "Engine",
    "TrialFunction",
    "build_engine",
    "engine_options",
]

ENGINES = {
    "inline": ("gan_bench.sweep.engines.inline", "InlineEngine", "InlineOptions"),
    "local": ("gan_bench.sweep.engines.local", "LocalEngine", "LocalOptions"),
    "slurm": ("gan_bench.sweep.engines.slurm", "SlurmEngine", "SlurmOptions"),
    "ray": ("gan_bench.sweep.engines.ray", "RayEngine", "RayOptions"),
}
"""Name -> module, class (called with the study's directory and options), class of its options."""


def engine_options(name: str, given: Mapping[str, Any] | None = None) -> Any:
    """Check an engine's options; return them as its own dataclass.

    Args:
        name: inline (one trial at a time, in this process), local (worker processes), slurm or
            ray.
        given: Field -> value; each engine's module documents its dataclass.

    Raises:
        ConfigError: The engine or an option is unknown, or a value is refused.
    """
    if name not in ENGINES:
        raise unknown("engine", name, ENGINES)
    module, _, options = ENGINES[name]
    return read_fields(getattr(import_module(module), options), "engine", given or {})


def build_engine(name: str, study_dir: Path, given: Mapping[str, Any] | None = None) -> Engine:
    """Build an engine.

    Args:
        name: See `engine_options`.
        study_dir: The study's directory: what the engine has to keep lies there.
        given: See `engine_options`.

    Raises:
        ConfigError: The engine or an option is unknown, or the engine's package is missing.
    """
    options = engine_options(name, given)
    module, engine_class, _ = ENGINES[name]
    engine: Engine = getattr(import_module(module), engine_class)(study_dir, options)
    return engine
