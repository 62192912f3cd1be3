"""One trial at a time, in the driver's own process."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from gan_bench.errors import StorageError
from gan_bench.sweep.engines.base import Ended, TrialFunction
from gan_bench.sweep.job import run_job


@dataclasses.dataclass
class InlineOptions:
    """There are none."""


class InlineEngine:
    """Runs a trial when it is waited for."""

    name = "inline"
    concurrent = False
    together = 1
    gpus_per_trial = 1.0
    slots = 1

    def __init__(self, study_dir: Path | None = None, options: InlineOptions | None = None) -> None:
        """Start with nothing queued; both arguments are there for what engines have in common."""
        self._queue: list[tuple[TrialFunction, Path]] = []

    def submit(self, trial: TrialFunction, trial_dirs: Sequence[Path]) -> list[str]:
        """Queue trials."""
        self._queue += [(trial, trial_dir) for trial_dir in trial_dirs]
        return [self.name] * len(trial_dirs)

    def attach(self, trial_dir: Path, job_id: str | None) -> str | None:
        """Return None: an earlier driver's trial died with it."""
        return None

    def wait(self, seconds: float) -> list[Ended]:
        """Run the next trial, however long it takes.

        Raises:
            StorageError: From the trial, as is KeyboardInterrupt.
        """
        trial, trial_dir = self._queue.pop(0)
        try:
            run_job(trial, trial_dir, self.name)
        except StorageError:
            raise
        except Exception as error:  # a fault of the trial must not end the study
            return [Ended(trial_dir, "error", f"{type(error).__name__}: {error}")]
        return [Ended(trial_dir)]

    def cancel(self, trial_dirs: Sequence[Path]) -> None:
        """Forget queued trials; one that is running is not interrupted."""
        gone = set(trial_dirs)
        self._queue = [entry for entry in self._queue if entry[1] not in gone]

    def close(self) -> None:
        """Forget what was queued."""
        self._queue.clear()
