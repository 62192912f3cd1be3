"""What runs trials: on this machine or another, one at a time or many."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

TrialFunction = Callable[[Path], dict[str, Any]]
"""Runs or continues the trial of a run directory (config.yaml in, result.json out).

Importable by name wherever the engine runs it.
"""

CAUSES = ("preempted", "timeout", "lost", "out_of_memory", "error")
"""Why a job ended without a result.

preempted: told to go, its state saved. timeout: its time was up. lost: it vanished (killed, or its
node died). out_of_memory: the system's or the scheduler's limit. error: the job raised.
"""


@dataclasses.dataclass(frozen=True)
class Ended:
    """A job that is over, well or not: what the trial came to stands in its result.json."""

    trial_dir: Path
    cause: str | None = None
    """One of `CAUSES`, where there may be no result; None: it returned."""
    error: str | None = None
    """The last line of what went wrong, where the engine knows it."""
    log: Path | None = None
    """What the job printed."""


class Engine(Protocol):
    """Runs jobs; the driver submits while fewer than `slots` are running, then waits.

    The driver takes nothing from a job but its files. Results may come in any order.
    """

    name: str
    """As in `build_engine`; journals keep it."""
    concurrent: bool
    """Whether trials run beside the driver: it then computes suggestions ahead of need."""
    together: int
    """Trials that a free worker had best be given at once, for it trains them as one program."""
    gpus_per_trial: float
    """Share of a device that a trial holds; 1 where trials have a CPU slot each."""

    @property
    def slots(self) -> int:
        """How many jobs may run at a time."""
        ...

    def submit(self, trial: TrialFunction, trial_dirs: Sequence[Path]) -> list[str]:
        """Start jobs, or queue them, without waiting for them.

        Args:
            trial: What each of them calls with its directory, through `run_job`.
            trial_dirs: At most as many as slots are free.

        Returns:
            The ids of the jobs.

        Raises:
            EngineError: The machine or cluster refuses; nothing of them was submitted.
        """
        ...

    def attach(self, trial_dir: Path, job_id: str | None) -> str | None:
        """Watch the living job of a trial, that an earlier driver submitted.

        Args:
            trial_dir: The trial's directory.
            job_id: As the journal has it; None: the driver died before it could write it.

        Returns:
            The id of the job; None if no job of this trial lives.
        """
        ...

    def wait(self, seconds: float) -> list[Ended]:
        """Block until a watched job is over, or for so long; return those over, each once.

        Raises:
            StorageError: The disk is at fault, not the trial: the study stops and can go on later.
            KeyboardInterrupt: Likewise.
        """
        ...

    def cancel(self, trial_dirs: Sequence[Path]) -> None:
        """Stop watched or attached jobs, their state saved where they can; `wait` returns them."""
        ...

    def close(self) -> None:
        """Let go: jobs of this machine are stopped with their state saved, a cluster's go on."""
        ...
