"""Jobs of a SLURM cluster, submitted by submitit: single ones, or job arrays.

A job that is preempted or runs out of time saves its state at the end of a step, is requeued, and
goes on from there. Which jobs live is asked of the queue, where each carries its trial in its
comment, so a driver that died before it could journal a job finds it all the same.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from gan_bench.errors import ConfigError, EngineError, StorageError, require
from gan_bench.signals import interrupt
from gan_bench.sweep import processes
from gan_bench.sweep.engines import slurm_queue
from gan_bench.sweep.engines.base import Ended, TrialFunction
from gan_bench.sweep.job import log_fault, run_job

_LOG = logging.getLogger(__name__)

JOBS = "jobs"
"""Folder of a study directory with what submitit writes: scripts, pickles and logs."""


@dataclasses.dataclass
class SlurmOptions:
    """What is asked of the cluster; `engine.FIELD` on the command line."""

    slots: int = 8
    """Jobs of the study that are queued or run at a time."""
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    gpus_per_trial: int = 1
    """0: none is asked for (as where `extra` asks for gres)."""
    cpus_per_trial: int | None = None
    memory_gb: float | None = None
    time_minutes: int = 240
    """Limit of one job; a trial that needs longer is requeued and goes on."""
    setup: list[str] = dataclasses.field(default_factory=list)
    """Lines of the script before Python starts ("module load cuda")."""
    array: bool = True
    """Whether trials that are submitted together are one job array."""
    signal_seconds: int = 90
    """So long before its time is up a job saves its state."""
    max_timeouts: int = 1000
    """How often a job may run out of time and be requeued."""
    poll_seconds: float = 5.0
    """How often the queue is asked."""
    patience_minutes: float = 60.0
    """How long a controller that doesn't answer is waited for when jobs are submitted."""
    extra: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Any other options of sbatch, without their dashes."""
    python: str | None = None
    """The interpreter of the jobs; None: this one."""

    def __post_init__(self) -> None:
        """Refuse values out of range (ConfigError)."""
        lowest = {"slots": 1, "gpus_per_trial": 0, "cpus_per_trial": 1, "time_minutes": 1}
        lowest |= {"signal_seconds": 1, "max_timeouts": 0, "patience_minutes": 0}
        for name, low in lowest.items():
            value = getattr(self, name)
            require(
                value is None or value >= low, f"engine.{name} is {value}; at least {low} is needed"
            )
        for name in ("memory_gb", "poll_seconds"):
            value = getattr(self, name)
            require(value is None or value > 0, f"engine.{name} is {value}; it must be above 0")


class SlurmEngine:
    """Runs trials as jobs of a cluster."""

    name = "slurm"
    concurrent = True
    together = 1

    def __init__(self, study_dir: Path, options: SlurmOptions | None = None) -> None:
        """Look for the cluster.

        Args:
            study_dir: The study's directory, on a file system that all nodes see.
            options: See `SlurmOptions`.

        Raises:
            ConfigError: submitit or sbatch is not there.
        """
        self._options = options or SlurmOptions()
        try:
            import submitit
        except ImportError:
            raise ConfigError(
                "engine=slurm needs submitit; pip install 'gan-bench[slurm]'"
            ) from None
        if shutil.which("sbatch") is None or shutil.which("srun") is None:
            raise ConfigError(
                "engine=slurm needs sbatch and srun, which are not on the PATH; start the sweep "
                "on a login node of the cluster"
            )
        self._submitit = submitit
        self._study_dir = study_dir.absolute()
        self.slots = self._options.slots
        self.gpus_per_trial = float(max(1, self._options.gpus_per_trial))
        self._jobs: dict[str, Path] = {}
        """Job id -> trial directory, of the jobs that are watched."""
        self._known: dict[str, str] | None = None
        """Trial id -> id of its living job, as the queue had it when it was first asked."""
        self._polled = 0.0

    def submit(self, trial: TrialFunction, trial_dirs: Sequence[Path]) -> list[str]:
        """Queue jobs; see `Engine.submit`."""
        size = slurm_queue.MOST_TOGETHER if self._options.array else 1
        groups = [list(trial_dirs[i : i + size]) for i in range(0, len(trial_dirs), size)]
        return [job_id for group in groups for job_id in self._submit(trial, group)]

    def _submit(self, trial: TrialFunction, trial_dirs: list[Path]) -> list[str]:
        """Queue one array, or one job; a controller that doesn't answer is waited for."""
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        deadline = time.monotonic() + 60 * self._options.patience_minutes
        ids: list[str] | None = None
        while ids is None:
            try:
                ids = self._sbatch(trial, trial_dirs)
            except (FailedJobError, FailedSubmissionError, OSError) as error:
                reason = " ".join(str(error).split())
                if not slurm_queue.may_pass(reason) or time.monotonic() > deadline:
                    raise EngineError(f"SLURM refuses a job: {reason}") from None
                _LOG.warning("SLURM's controller does not answer; trying again")
                time.sleep(self._options.poll_seconds)
                # it may have taken them though its answer was lost
                ids = slurm_queue.jobs_of(self._study_dir, [path.name for path in trial_dirs])
        self._jobs.update(zip(ids, trial_dirs, strict=True))
        return ids

    def _sbatch(self, trial: TrialFunction, trial_dirs: list[Path]) -> list[str]:
        from submitit.slurm.slurm import SlurmExecutor

        executor = SlurmExecutor(
            self._study_dir / JOBS,
            max_num_timeout=self._options.max_timeouts,
            python=self._options.python,
        )
        comment = slurm_queue.comment_of(self._study_dir, [path.name for path in trial_dirs])
        executor.update_parameters(**self.parameters(), comment=comment)
        jobs = [Job(trial, path.absolute(), self._options.cpus_per_trial) for path in trial_dirs]
        with slurm_queue.outside_of_a_job(), executor.batch():
            submitted = [executor.submit(job) for job in jobs]
        return [job.job_id for job in submitted]

    def parameters(self) -> dict[str, Any]:
        """Return submitit's parameters of a job."""
        options = self._options
        memory = options.memory_gb
        given = {
            "job_name": f"gan_bench-{self._study_dir.name}",
            "partition": options.partition,
            "account": options.account,
            "qos": options.qos,
            "constraint": options.constraint,
            "gpus_per_node": options.gpus_per_trial or None,
            "cpus_per_task": options.cpus_per_trial,
            "mem": None if memory is None else f"{round(memory * 1024)}MB",
            "time": options.time_minutes,
            "setup": list(options.setup) or None,
            "signal_delay_s": options.signal_seconds,
            "additional_parameters": {"requeue": True, **options.extra},
        }
        return {key: value for key, value in given.items() if value is not None}

    def attach(self, trial_dir: Path, job_id: str | None) -> str | None:
        """Watch the job that carries the trial; see `Engine.attach`.

        Raises:
            EngineError: The queue can't be asked, so nobody knows what lives.
        """
        if self._known is None:
            found = slurm_queue.living(self._study_dir)
            if found is None:
                raise EngineError(
                    "the queue can't be asked for the jobs of this study (squeue fails); "
                    "try again when the cluster answers"
                )
            self._known = {trial_id: number for number, trial_id in found.items()}
        living = self._known.get(trial_dir.name)
        if living is not None:
            self._jobs[living] = trial_dir
        return living

    def wait(self, seconds: float) -> list[Ended]:
        """Block until a job has left the queue, or for so long; see `Engine.wait`.

        Raises:
            StorageError: A trial could not write.
        """
        deadline = time.monotonic() + seconds
        while True:
            found = self._over()
            left = deadline - time.monotonic()
            if found or left <= 0:
                return found
            time.sleep(min(left, self._options.poll_seconds / 4))

    def _over(self) -> list[Ended]:
        if time.monotonic() - self._polled < self._options.poll_seconds:
            return []
        self._polled = time.monotonic()
        alive = slurm_queue.living(self._study_dir)
        if alive is None:
            return []
        gone = [job_id for job_id in self._jobs if job_id not in alive]
        return [
            slurm_queue.how_it_ended(self._jobs.pop(job_id), job_id, self._log(job_id))
            for job_id in gone
        ]

    def _log(self, job_id: str) -> Path:
        return self._study_dir / JOBS / f"{job_id}_0_log.err"

    def cancel(self, trial_dirs: Sequence[Path]) -> None:
        """Take jobs out of the queue; those that run are told first, and save their state."""
        chosen = set(trial_dirs)
        ids = [job_id for job_id, folder in self._jobs.items() if folder in chosen]
        if ids:
            slurm_queue.cancel(ids)

    def close(self) -> None:
        """Let go; the jobs go on."""


class Job:
    """What a job runs: pickled by submitit, and again whenever it is requeued."""

    def __init__(self, trial: TrialFunction, trial_dir: Path, threads: int | None) -> None:
        """Keep what to run.

        Args:
            trial: Importable by name on the nodes.
            trial_dir: Absolute, on a file system that the nodes see.
            threads: CPU threads; None: as many as torch chooses.
        """
        self._trial, self._trial_dir, self._threads = trial, trial_dir, threads

    def __call__(self) -> None:
        """Run or continue the trial; when told to go, save its state first."""
        from submitit import JobEnvironment

        warning = JobEnvironment._usr_sig()
        requeue = signal.getsignal(warning)
        warned: list[int] = []

        def warn(number: int, frame: FrameType | None) -> None:
            warned.append(number)
            signal.raise_signal(signal.SIGTERM)  # which training holds back until a step has ended

        signal.signal(signal.SIGTERM, interrupt)
        signal.signal(warning, warn)
        if self._threads is not None:
            processes.use_threads(self._threads)
        try:
            run_job(self._trial, self._trial_dir, job_id())
        except KeyboardInterrupt:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.signal(warning, signal.SIG_IGN)
            if warned and callable(requeue):
                requeue(warning, None)  # submitit's: it requeues the job and exits
            sys.exit(os.EX_TEMPFAIL)
        except StorageError as error:
            log_fault(error)
            sys.exit(slurm_queue.STORAGE_EXIT)
        except Exception as error:
            log_fault(error)
            sys.exit(1)

    def checkpoint(self) -> Any:
        """Return what submitit is to run when the job starts again: the same."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def job_id() -> str:
    """Return this job's id as the queue shows it: 12, or 12_3 in an array."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array else os.environ.get("SLURM_JOB_ID", "unknown")
