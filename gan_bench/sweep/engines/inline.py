"""One trial at a time, in the driver's own process."""

from __future__ import annotations

from pathlib import Path

from gan_bench.errors import StorageError
from gan_bench.sweep.engines.base import Ended, TrialFunction


class InlineEngine:
    """Runs a trial when it is waited for."""

    slots = 1

    def __init__(self) -> None:
        self._queue: list[tuple[TrialFunction, Path]] = []

    def submit(self, trial: TrialFunction, trial_dir: Path) -> str:
        """Queue a trial."""
        self._queue.append((trial, trial_dir))
        return "inline"

    def attach(self, trial_dir: Path, job_id: str) -> bool:
        """Return False: an earlier driver's trial died with it."""
        return False

    def wait(self) -> list[Ended]:
        """Run the next trial.

        Raises:
            StorageError: From the trial, as is KeyboardInterrupt.
        """
        trial, trial_dir = self._queue.pop(0)
        try:
            trial(trial_dir)
        except StorageError:
            raise
        except Exception as error:  # a fault of the trial must not end the study
            return [Ended(trial_dir, f"{type(error).__name__}: {error}")]
        return [Ended(trial_dir)]

    def close(self) -> None:
        """Forget what was queued."""
        self._queue.clear()
