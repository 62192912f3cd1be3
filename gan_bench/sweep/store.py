"""The journal of a study: trials.jsonl, append-only, with one writer.

    {"event": "proposed", "trial_id", "cell", "axes", "settings", "source": "fixed|bandit",
     "index", "seed", "overrides", "time"}
    {"event": "submitted", "trial_id", "job_id", "time"}
    {"event": "finished", "trial_id", "status", "objective", "metrics", "error", "time"}

`index` counts the settings of one cell and source. A trial that is submitted again after it has
finished is open again; the last finish counts. Lines are on the disk before what they announce
happens, so a driver that was killed finds on its next start all that it had begun.
"""

from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path
from typing import Any

from gan_bench import files
from gan_bench.sweep.space import Settings

JOURNAL = "trials.jsonl"
TRIALS = "trials"
"""Folder of the run directories."""


@dataclasses.dataclass
class Trial:
    """One setting of one cell with one seed, and what has become of it."""

    trial_id: str
    cell: str
    axes: dict[str, str]
    settings: Settings
    source: str
    """fixed or bandit."""
    index: int
    seed: int
    overrides: list[str]
    """All that was composed beyond the study's base."""
    job_id: str | None = None
    status: str | None = None
    """completed, diverged or failed; None: not finished."""
    objective: float | None = None
    """The study's metric, as measured (not negated); None unless completed."""
    metrics: dict[str, Any] = dataclasses.field(default_factory=dict)
    error: str | None = None

    @property
    def finished(self) -> bool:
        """Whether it has a status."""
        return self.status is not None


_PROPOSED = ("trial_id", "cell", "axes", "settings", "source", "index", "seed", "overrides")


class TrialStore:
    """The trials of a study directory, in the order in which they were proposed."""

    def __init__(self, study_dir: Path) -> None:
        """Replay the journal, if there is one.

        Args:
            study_dir: The study directory.
        """
        self._path = study_dir / JOURNAL
        self._folder = study_dir / TRIALS
        self.trials: dict[str, Trial] = {}
        for record in files.read_jsonl(self._path):
            self._apply(record)

    def folder(self, trial_id: str) -> Path:
        """Return a trial's run directory."""
        return self._folder / trial_id

    def propose(self, trial: Trial) -> None:
        """Add a trial."""
        record = {name: getattr(trial, name) for name in _PROPOSED}
        self._write("proposed", record)

    def submit(self, trial_id: str, job_id: str) -> None:
        """Note that an engine has taken a trial."""
        self._write("submitted", {"trial_id": trial_id, "job_id": job_id})

    def finish(
        self,
        trial_id: str,
        status: str,
        *,
        objective: float | None = None,
        metrics: dict[str, Any] | None = None,
        error: str | None = None,
    ) -> None:
        """Note a trial's end."""
        record = {
            "trial_id": trial_id,
            "status": status,
            "objective": objective,
            "metrics": metrics or {},
            "error": error,
        }
        self._write("finished", record)

    def _write(self, event: str, record: dict[str, Any]) -> None:
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        line = files.plain({"event": event, **record, "time": now})
        files.append_jsonl(self._path, line, sync=True)
        self._apply(line)

    def _apply(self, record: dict[str, Any]) -> None:
        event, trial_id = record.get("event"), record.get("trial_id")
        if event == "proposed" and trial_id not in self.trials:
            trial = Trial(**{name: record[name] for name in _PROPOSED})
            self.trials[trial.trial_id] = trial
            return
        found = self.trials.get(str(trial_id))
        if found is None:
            return
        if event == "submitted":
            found.job_id, found.status = record["job_id"], None
        elif event == "finished":
            found.status, found.objective = record["status"], record["objective"]
            found.metrics, found.error = record["metrics"], record["error"]


def read_trials(study_dir: Path) -> list[Trial]:
    """Read a study's trials, also while its driver is running.

    Args:
        study_dir: The study directory.
    """
    return list(TrialStore(study_dir).trials.values())
