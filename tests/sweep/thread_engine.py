"""An asynchronous engine for tests: threads that finish out of order, jobs that die as told."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gan_bench.sweep import Ended


class ThreadEngine:
    name = "thread"
    concurrent = True
    together = 1
    gpus_per_trial = 1.0

    def __init__(self, slots: int = 3, causes: dict[str, list[str]] | None = None) -> None:
        self.slots = slots
        self.causes = causes or {}
        """Trial id -> how its first jobs end, instead of running."""
        self._pool = concurrent.futures.ThreadPoolExecutor(slots)
        self._jobs: dict[concurrent.futures.Future[Any], Path] = {}
        self.busy: list[int] = []
        self.submitted: list[str] = []
        self.cancelled: list[str] = []

    def submit(
        self, trial: Callable[[Path], dict[str, Any]], trial_dirs: Sequence[Path]
    ) -> list[str]:
        for trial_dir in trial_dirs:
            self.submitted.append(trial_dir.name)
            self._jobs[self._pool.submit(trial, trial_dir)] = trial_dir
        return [f"thread-{trial_dir.name}" for trial_dir in trial_dirs]

    def attach(self, trial_dir: Path, job_id: str | None) -> str | None:
        return None

    def wait(self, seconds: float) -> list[Ended]:
        self.busy.append(len(self._jobs))
        done, _ = concurrent.futures.wait(
            self._jobs, timeout=seconds, return_when=concurrent.futures.FIRST_COMPLETED
        )
        return [self._ended(self._jobs.pop(job), job) for job in done]

    def _ended(self, trial_dir: Path, job: concurrent.futures.Future[Any]) -> Ended:
        if self.causes.get(trial_dir.name):
            cause = self.causes[trial_dir.name].pop(0)
            (trial_dir / "result.json").unlink(missing_ok=True)
            return Ended(trial_dir, cause, f"it was {cause}", trial_dir / "job.log")
        error = job.exception()
        return Ended(trial_dir) if error is None else Ended(trial_dir, "error", repr(error))

    def cancel(self, trial_dirs: Sequence[Path]) -> None:
        self.cancelled += [trial_dir.name for trial_dir in trial_dirs]

    def close(self) -> None:
        self._pool.shutdown()
