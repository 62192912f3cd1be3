"""What runs trials: on this machine or another, one at a time or many."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

TrialFunction = Callable[[Path], dict[str, Any]]
"""Runs or continues the trial of a run directory (config.yaml in, result.json out)."""


@dataclasses.dataclass(frozen=True)
class Ended:
    """A job that is over, well or not: what the trial came to stands in its result.json."""

    trial_dir: Path
    error: str | None = None
    """Why the job died, where the engine knows and there is no result."""


class Engine(Protocol):
    """Runs jobs; the driver submits while fewer than `slots` are running, then waits.

    The driver takes nothing from a job but its files. Results may come in any order.
    """

    @property
    def slots(self) -> int:
        """How many jobs may run at a time."""
        ...

    def submit(self, trial: TrialFunction, trial_dir: Path) -> str:
        """Start a job, or queue it, without waiting for it; return its id."""
        ...

    def attach(self, trial_dir: Path, job_id: str) -> bool:
        """Watch a job of an earlier driver; False if it is not alive any more."""
        ...

    def wait(self) -> list[Ended]:
        """Block until at least one watched job is over; return those that are, each once.

        Raises:
            StorageError: The disk is at fault, not the trial: the study stops and can go on later.
            KeyboardInterrupt: Likewise.
        """
        ...

    def close(self) -> None:
        """Let go: jobs of this machine are stopped with their state saved, a cluster's go on."""
        ...
