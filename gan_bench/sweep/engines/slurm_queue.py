"""What SLURM knows of a study's jobs: which live, and how one ended. Works without accounting."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from gan_bench import files
from gan_bench.errors import StorageError
from gan_bench.sweep.engines.base import Ended
from gan_bench.sweep.job import last_line, read_job

_SECONDS = 60
"""How long an answer of the controller may take."""

MOST_TOGETHER = 50
"""Jobs of one array: their trials' ids stand in its comment, of at most 1024 letters."""
STORAGE_EXIT = os.EX_IOERR
"""Exit code of a job that could not write: the study stops, the trial is not at fault."""
_PASSING = (
    "unable to contact slurm controller", "connection refused", "socket timed out",
    "temporarily unable", "connect failure", "communication connection failure",
    "unable to connect", "zero bytes were transmitted",
)  # fmt: skip
"""What sbatch says, in lower case, when the controller is away rather than unwilling."""

_CAUSES = {
    "TIMEOUT": "timeout",
    "DEADLINE": "timeout",
    "PREEMPTED": "preempted",
    "OUT_OF_MEMORY": "out_of_memory",
    "NODE_FAIL": "lost",
    "BOOT_FAIL": "lost",
    "CANCELLED": "lost",
}


def study_digest(study_dir: Path) -> str:
    """Return what the comments of a study's jobs begin with."""
    return f"gan_bench:{files.digest(str(study_dir.resolve()))}"


def comment_of(study_dir: Path, trial_ids: list[str]) -> str:
    """Return a submission's comment: the study, and its trials in the order of the array."""
    return f"{study_digest(study_dir)}:{','.join(trial_ids)}"


def living(study_dir: Path) -> dict[str, str] | None:
    """Return job id -> trial id of a study's jobs that are queued or run.

    None: the controller doesn't answer, so nobody knows.
    """
    text = _ask("squeue", "--me", "--noheader", "--array", "--format=%i|%T|%k")
    return None if text is None else parse_queue(text, study_digest(study_dir))


def parse_queue(text: str, digest: str) -> dict[str, str]:
    """Read lines of "job id|state|comment"; a job of an array has an id like 12_3."""
    found = {}
    for line in text.splitlines():
        job_id, _, rest = line.strip().partition("|")
        _, _, comment = rest.partition("|")
        if not comment.startswith(f"{digest}:"):
            continue
        trials = comment.removeprefix(f"{digest}:").split(",")
        _, _, task = job_id.partition("_")
        index = int(task) if task.isdecimal() else 0
        if index < len(trials):
            found[job_id] = trials[index]
    return found


def jobs_of(study_dir: Path, trial_ids: list[str]) -> list[str] | None:
    """Return the ids of these trials' living jobs, in their order; None unless all have one."""
    found = {trial_id: job_id for job_id, trial_id in (living(study_dir) or {}).items()}
    ids = [found[trial_id] for trial_id in trial_ids if trial_id in found]
    return ids if len(ids) == len(trial_ids) else None


def may_pass(reason: str) -> bool:
    """Tell whether sbatch failed because the controller is away for a while."""
    return any(words in reason.lower() for words in _PASSING)


@contextlib.contextmanager
def outside_of_a_job() -> Iterator[None]:
    """Hide the variables of the job that the driver may run in: sbatch takes them as options."""
    own = {
        key: os.environ.pop(key)
        for key in list(os.environ)
        if key.startswith(("SLURM_", "SLURMD_", "SBATCH_", "SRUN_")) and key != "SLURM_CONF"
    }
    try:
        yield
    finally:
        os.environ.update(own)


def how_it_ended(trial_dir: Path, job_id: str, log: Path) -> Ended:
    """Say how a job that is not in the queue any more has ended.

    Raises:
        StorageError: It could not write.
    """
    if (trial_dir / "result.json").exists():
        return Ended(trial_dir, log=log)
    job, (state, exit_code) = read_job(trial_dir), _last_known(job_id)
    own = job.get("job_id") == job_id
    if exit_code == STORAGE_EXIT:
        raise StorageError(last_line(log) or f"{trial_dir} can't be written")
    if own and job.get("state") == "preempted":
        return Ended(trial_dir, "preempted", f"the job was told to stop ({state})", log)
    if state in _CAUSES:
        return Ended(trial_dir, _CAUSES[state], f"SLURM says {state}", log)
    if own and job.get("state") == "ended":
        return Ended(trial_dir, "error", last_line(log) or f"SLURM says {state}", log)
    said = last_line(log)
    return Ended(
        trial_dir, "lost", f"the job died (SLURM says {state}){f': {said}' if said else ''}", log
    )


def state_of(job_id: str) -> str:
    """Return a job's last state, from the controller or the accounting; UNKNOWN: neither has it."""
    return _last_known(job_id)[0]


def _last_known(job_id: str) -> tuple[str, int | None]:
    """Return a job's last state and exit code; of accounting only the former is asked."""
    text = _ask("scontrol", "show", "job", "--oneliner", job_id) or ""
    state = re.search(r"\bJobState=(\w+)", text)
    if state:
        code = re.search(r"\bExitCode=(\d+):", text)
        return state.group(1), int(code.group(1)) if code else None
    words = (_ask("sacct", "-X", "-n", "-P", "-o", "State", "-j", job_id) or "").split()
    return (words[0] if words else "UNKNOWN"), None


def _ask(*command: str) -> str | None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def cancel(job_ids: list[str]) -> None:
    """Take jobs out of the queue; running ones get SIGTERM, and SIGKILL after KillWait."""
    _ask("scancel", *job_ids)
