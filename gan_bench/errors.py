"""Errors that are the user's to mend: one clear line, exit code 2, no traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class GanBenchError(Exception):
    """Bad input. The message says in one line what is wrong and what to do."""


class ConfigError(GanBenchError):
    """An unknown choice, a misspelt field or a value out of range."""


class DataError(GanBenchError):
    """A missing, unreadable or unsuitable data file."""


class CheckpointError(GanBenchError):
    """A missing, corrupt or incompatible checkpoint."""


class WeightsError(GanBenchError):
    """Weights of a feature extractor that are missing, corrupt or not the expected ones."""


class StorageError(GanBenchError):
    """A disk that is full or read-only, or a path that cannot be written."""


class BusyError(GanBenchError):
    """Another process is at work in the same directory."""


class StudyError(GanBenchError):
    """A study that can't be read, is locked, or doesn't match what it was started with."""


class EngineError(GanBenchError):
    """A machine or cluster that refuses a job, or can't be reached."""


def unknown(kind: str, name: object, known: Iterable[str]) -> ConfigError:
    """Build the error for a name that is not among the known ones, naming the nearest.

    Args:
        kind: What the name should be, as the user calls it ("loss", "option of loss hinge").
        name: What was given.
        known: The names that exist.

    Returns:
        The error, to be raised by the caller.
    """
    names = sorted(known)
    nearest = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"did you mean '{nearest[0]}'? " if nearest else ""
    listed = f"known: {', '.join(names)}" if names else "there are none"
    return ConfigError(f"unknown {kind} '{name}'; {hint}{listed}")


def require(condition: bool, message: str) -> None:
    """Raise ConfigError(message) unless the condition holds."""
    if not condition:
        raise ConfigError(message)
