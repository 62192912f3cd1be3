"""A trial's worker on Ray: an actor that runs one trial, and how it came to its end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from gan_bench import files
from gan_bench.errors import StorageError
from gan_bench.signals import interrupt
from gan_bench.sweep import processes
from gan_bench.sweep.engines.base import TrialFunction
from gan_bench.sweep.job import last_line, log_fault, read_job, run_job

LOG = "job.log"
LOCK = ".job.lock"
"""Held by a trial's worker; of the name that the local engine's workers hold, and so knows."""
_LINGER_SECONDS = 60.0
"""How long an actor tells what its trial came to, should nobody have heard; then it goes."""


class Runner:
    """An actor: runs one trial, once."""

    def __init__(self, trial: TrialFunction, trial_dir: Path, threads: int) -> None:
        self._trial, self._trial_dir, self._threads = trial, trial_dir, threads
        self._outcome: tuple[str | None, str | None] | None = None

    def run(self) -> tuple[str | None, str | None]:
        """Run or continue the trial; return the cause of its end and the error, if any.

        Asked again it only tells; a driver may have died before its first question arrived.
        """
        if self._outcome is None:
            self._outcome = self._run()
            # with no driver left to end it, it would hold its share of the cluster for ever
            leave = threading.Timer(_LINGER_SECONDS, os._exit, (0,))
            leave.daemon = True
            leave.start()
        return self._outcome

    def _run(self) -> tuple[str | None, str | None]:
        log = self._trial_dir / LOG
        if not self._trial_dir.is_dir():
            host = socket.gethostname()
            return "storage", f"{host} does not see {self._trial_dir}; all nodes must share it"
        try:
            processes.use_threads(self._threads)
            with (
                files.storage_errors(log),
                _logged(log),
                _terminable(),
                # after a lost connection the worker of an earlier actor may live on for a while
                files.locked(self._trial_dir / LOCK, "the trial", wait=True),
            ):
                return self._run_logged()
        except StorageError as error:
            return "storage", str(error)

    def _run_logged(self) -> tuple[str | None, str | None]:
        import ray

        try:
            run_job(self._trial, self._trial_dir, ray.get_runtime_context().get_actor_id() or "")
        except KeyboardInterrupt:
            return "preempted", "the trial was told to stop"
        except StorageError:
            raise
        except Exception as error:
            log_fault(error)
            return "error", last_line(self._trial_dir / LOG)
        except SystemExit as error:  # at which Ray would end the process, as if it had been lost
            return "error", f"the trial ended its process (exit code {error.code})"
        return None, None


def how_it_ended(fault: Exception, trial_dir: Path, actor_id: str) -> tuple[str | None, str | None]:
    """Say how a trial ended whose actor does not answer.

    Args:
        fault: What Ray says.
        trial_dir: The trial's directory, whose job.json may know more.
        actor_id: The actor's.

    Returns:
        The cause, one of `CAUSES` or None, and the error in one line.
    """
    from ray import exceptions

    words = [line.strip() for line in str(fault).splitlines() if line.strip()]
    last = words[-1][:300] if words else type(fault).__name__
    if isinstance(fault, exceptions.OutOfMemoryError):
        return "out_of_memory", words[0][:300] if words else "Ray ran out of memory"
    job = read_job(trial_dir)
    state = job.get("state") if job.get("job_id") == actor_id else None
    if state == "ended":  # it may have gone because nobody asked for so long
        result = (trial_dir / "result.json").exists()
        return None if result else "error", last_line(trial_dir / LOG)
    preempted = isinstance(fault, exceptions.RayActorError) and fault.preempted
    if state == "preempted" or preempted:
        return "preempted", "the trial was told to stop" if state == "preempted" else last
    raised = isinstance(fault, (exceptions.RayTaskError, exceptions.RuntimeEnvSetupError))
    if raised or (isinstance(fault, exceptions.RayActorError) and fault.actor_init_failed):
        return "error", last
    return "lost", last


@contextlib.contextmanager
def _logged(log: Path) -> Iterator[None]:
    """Send this process's output to a file."""
    with log.open("ab", buffering=0) as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    yield
    sys.stdout.flush()
    sys.stderr.flush()


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Turn SIGTERM, at which Ray would end the process, into KeyboardInterrupt."""
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
