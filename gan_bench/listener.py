"""Who is told what a run does: the command line's printer, and trackers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gan_bench.training.trainer import Progress


class RunListener:
    """Told what a run does. These methods do nothing."""

    def started(self, step: int, total: int, run_dir: Path) -> None:
        """Training starts, or goes on, at `step` of `total`."""

    def logged(self, step: int, progress: Progress, images_per_second: float) -> None:
        """A log line was written."""

    def sampled(self, step: int, path: Path) -> None:
        """A grid of samples was written."""

    def evaluating(self, step: int) -> None:
        """An evaluation starts."""

    def evaluated(self, step: int, metrics: Mapping[str, Any]) -> None:
        """An evaluation has ended."""

    def ended(self, result: Mapping[str, Any]) -> None:
        """The run's result was written."""

    def closed(self) -> None:
        """The run has ended or was interrupted: nothing more is told."""


class Listeners(RunListener):
    """Several listeners as one."""

    def __init__(self, listeners: Sequence[RunListener]) -> None:
        """Keep them; they are told in this order."""
        self._listeners = listeners

    def started(self, step: int, total: int, run_dir: Path) -> None:
        """See `RunListener.started`."""
        for listener in self._listeners:
            listener.started(step, total, run_dir)

    def logged(self, step: int, progress: Progress, images_per_second: float) -> None:
        """See `RunListener.logged`."""
        for listener in self._listeners:
            listener.logged(step, progress, images_per_second)

    def sampled(self, step: int, path: Path) -> None:
        """See `RunListener.sampled`."""
        for listener in self._listeners:
            listener.sampled(step, path)

    def evaluating(self, step: int) -> None:
        """See `RunListener.evaluating`."""
        for listener in self._listeners:
            listener.evaluating(step)

    def evaluated(self, step: int, metrics: Mapping[str, Any]) -> None:
        """See `RunListener.evaluated`."""
        for listener in self._listeners:
            listener.evaluated(step, metrics)

    def ended(self, result: Mapping[str, Any]) -> None:
        """See `RunListener.ended`."""
        for listener in self._listeners:
            listener.ended(result)

    def closed(self) -> None:
        """See `RunListener.closed`."""
        for listener in self._listeners:
            listener.closed()
