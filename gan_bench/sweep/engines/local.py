"""Worker processes on this machine: one or several trials on each GPU, or on the CPU's cores.

Each trial is a process of its own, so a crash takes one trial with it. Workers outlive a driver
that was killed: each holds a lock that it has inherited, so the next driver knows which live, even
where the journal doesn't, and waits for them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from gan_bench import files
from gan_bench.errors import EngineError, StorageError, require
from gan_bench.signals import interrupt
from gan_bench.sweep import processes
from gan_bench.sweep.engines.base import Ended, TrialFunction
from gan_bench.sweep.job import last_line, log_fault, read_job, run_job

LOG = "job.log"
_LOCK = ".job.lock"
_POLL_SECONDS = 0.2
"""How often the locks of another driver's workers are tried."""
_GRACE_SECONDS = 300.0
"""How long a worker that was told to go may take to save its state."""
_PREEMPTED, _STORAGE, _ERROR = 75, 74, 1
"""Exit codes of workers (sysexits.h: EX_TEMPFAIL, EX_IOERR)."""


@dataclasses.dataclass
class LocalOptions:
    """Where trials run; `engine.FIELD` on the command line."""

    slots: int | None = None
    """Trials at a time; None: trials_per_gpu for each GPU, or a trial for each two CPU cores."""
    gpus: list[str] | None = None
    """Ids of the GPUs to use, as CUDA_VISIBLE_DEVICES has them; None: all that are visible."""
    trials_per_gpu: int = 1
    threads: int | None = None
    """CPU threads of a trial; None: the cores, divided by the slots."""

    def __post_init__(self) -> None:
        """Refuse values out of range (ConfigError)."""
        for name in ("slots", "trials_per_gpu", "threads"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"engine.{name} is {value}; it must be at least 1")


class LocalEngine:
    """Runs trials in processes of this machine."""

    name = "local"
    concurrent = True

    def __init__(self, study_dir: Path, options: LocalOptions | None = None) -> None:
        """Divide the machine.

        Args:
            study_dir: The study's directory.
            options: See `LocalOptions`.

        Raises:
            ConfigError: A GPU is asked for that is not there.
        """
        options = options or LocalOptions()
        cores = len(os.sched_getaffinity(0))
        there = _visible_gpus()
        self._gpus = there if options.gpus is None else list(options.gpus)
        for gpu in self._gpus:
            require(
                gpu in there,
                f"engine.gpus names GPU {gpu}, which is not there; "
                f"visible: {', '.join(there) or 'none'}",
            )
        slots = options.slots or len(self._gpus) * options.trials_per_gpu or cores // 2
        self.slots = max(1, slots)
        self.gpus_per_trial = 1 / options.trials_per_gpu if self._gpus else 1.0
        self._threads = options.threads or max(1, cores // self.slots)
        self._own: dict[Path, tuple[BaseProcess, str | None]] = {}
        self._attached: dict[Path, str | None] = {}
        self._context = processes.context()

    def submit(self, trial: TrialFunction, trial_dirs: Sequence[Path]) -> list[str]:
        """Start a worker for each trial; see `Engine.submit`."""
        return [self._start(trial, trial_dir) for trial_dir in trial_dirs]

    def _start(self, trial: TrialFunction, trial_dir: Path) -> str:
        held = [gpu for _, gpu in self._own.values()] + list(self._attached.values())
        gpu = min(self._gpus, key=held.count) if self._gpus else None
        lock = _job_lock(trial_dir)
        if lock is None:
            raise EngineError(f"a worker of an earlier driver still runs {trial_dir}; stop it")
        with lock:
            worker = self._context.Process(
                target=_work, args=(trial, trial_dir.absolute(), gpu, self._threads, lock)
            )
            with processes.hidden_main():
                worker.start()
        self._own[trial_dir] = worker, gpu
        return f"{socket.gethostname()}:{worker.pid}"

    def attach(self, trial_dir: Path, job_id: str | None) -> str | None:
        """Watch a worker that holds its lock; see `Engine.attach`."""
        if not (trial_dir / _LOCK).exists():
            return None
        lock = _job_lock(trial_dir)
        if lock is not None:
            lock.close()
            return None
        job = read_job(trial_dir)
        self._attached[trial_dir] = job.get("device")
        return str(job_id or job.get("job_id") or self.name)

    def wait(self, seconds: float) -> list[Ended]:
        """Block until a worker is over, or for so long; see `Engine.wait`.

        Raises:
            StorageError: A worker could not write.
        """
        deadline = time.monotonic() + seconds
        while True:
            left = max(0.0, deadline - time.monotonic())
            step = min(left, _POLL_SECONDS) if self._attached else left
            sentinels = [worker.sentinel for worker, _ in self._own.values()]
            if sentinels:
                wait(sentinels, timeout=step)
            else:
                time.sleep(step)
            found = self._over()
            if found or left <= step:
                return found

    def _over(self) -> list[Ended]:
        found = []
        for trial_dir, (worker, _) in list(self._own.items()):
            if worker.exitcode is not None:
                del self._own[trial_dir]
                found.append(_ended(trial_dir, worker.exitcode))
                worker.close()
        for trial_dir in list(self._attached):
            lock = _job_lock(trial_dir)
            if lock is not None:
                lock.close()
                del self._attached[trial_dir]
                found.append(_ended_unseen(trial_dir))
        return found

    def cancel(self, trial_dirs: Sequence[Path]) -> None:
        """Tell workers to save their state and go."""
        for trial_dir in trial_dirs:
            job = read_job(trial_dir)
            if trial_dir in self._own:
                pid = self._own[trial_dir][0].pid
            elif trial_dir in self._attached and job.get("host") == socket.gethostname():
                pid = job.get("pid")
            else:
                continue
            if pid:
                processes.terminate(pid)

    def close(self) -> None:
        """Stop all workers, their state saved; those that take too long are killed."""
        self.cancel([*self._own, *self._attached])
        deadline = time.monotonic() + _GRACE_SECONDS
        while (self._own or self._attached) and time.monotonic() < deadline:
            with contextlib.suppress(StorageError):
                self.wait(1.0)
        for worker, _ in self._own.values():
            worker.kill()


def _work(
    trial: TrialFunction, trial_dir: Path, gpu: str | None, threads: int, lock: Connection
) -> None:
    """Run a trial in a new process; `lock` is held until the process is gone."""
    signal.signal(signal.SIGTERM, interrupt)
    os.setsid()  # Ctrl-C is for the driver, which then tells its workers
    with (trial_dir / LOG).open("ab", buffering=0) as log:
        os.dup2(log.fileno(), sys.stdout.fileno())
        os.dup2(log.fileno(), sys.stderr.fileno())
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    processes.use_threads(threads)
    try:
        run_job(trial, trial_dir, f"{socket.gethostname()}:{os.getpid()}")
    except KeyboardInterrupt:
        sys.exit(_PREEMPTED)
    except Exception as error:
        log_fault(error)
        sys.exit(_STORAGE if isinstance(error, StorageError) else _ERROR)


def _ended(trial_dir: Path, code: int) -> Ended:
    """Say how a worker ended, from its exit code."""
    log = trial_dir / LOG
    if code == 0:
        return Ended(trial_dir, log=log)
    if code == _STORAGE:
        raise StorageError(last_line(log) or f"a trial could not write {trial_dir}")
    if code in (_PREEMPTED, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP):
        return Ended(trial_dir, "preempted", "the worker was told to stop", log)
    if code < 0:
        name = signal.Signals(-code).name
        hint = " (out of memory?)" if -code == signal.SIGKILL else ""
        return Ended(trial_dir, "lost", f"the worker was killed by {name}{hint}", log)
    return Ended(trial_dir, "error", last_line(log), log)


def _ended_unseen(trial_dir: Path) -> Ended:
    """Say how another driver's worker ended, from what it wrote."""
    log, state = trial_dir / LOG, read_job(trial_dir).get("state")
    if state == "preempted":
        return Ended(trial_dir, "preempted", "the worker was told to stop", log)
    if state == "ended":
        result = (trial_dir / "result.json").exists()
        return Ended(trial_dir, None if result else "error", last_line(log), log)
    return Ended(trial_dir, "lost", "the worker vanished", log)


def _job_lock(trial_dir: Path) -> Connection | None:
    """Take the lock that a trial's worker holds as long as it lives; None if one does.

    It is wrapped as a connection because those can be sent to a child.
    """
    with files.storage_errors(trial_dir):
        trial_dir.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(trial_dir / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return Connection(descriptor, writable=False)


def _visible_gpus() -> list[str]:
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip()]
    return [str(index) for index in range(torch.cuda.device_count())]
