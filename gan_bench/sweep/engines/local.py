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

from gan_bench import config as configs
from gan_bench import files
from gan_bench.errors import EngineError, StorageError, require
from gan_bench.signals import interrupt
from gan_bench.sweep import processes
from gan_bench.sweep.engines.base import Ended, TrialFunction
from gan_bench.sweep.job import last_line, log_fault, read_job, run_jobs
from gan_bench.together import stack_key

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
    """Worker processes; None: trials_per_gpu for each GPU, or one for each two CPU cores."""
    gpus: list[str] | None = None
    """Ids of the GPUs to use, as CUDA_VISIBLE_DEVICES has them; None: all that are visible."""
    trials_per_gpu: int = 1
    trials_per_device: int = 1
    """Trials that each of these trains together, as one program, where they differ in a few scalars
    only; `auto` on the command line lets `packing.choose` say."""
    threads: int | None = None
    """CPU threads of a trial; None: the cores, divided by the slots."""

    def __post_init__(self) -> None:
        """Refuse values out of range (ConfigError)."""
        for name in ("slots", "trials_per_gpu", "trials_per_device", "threads"):
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
        self._workers = max(1, slots)
        self.together = options.trials_per_device
        # trials that train together count a share of the time each, so none of the device
        self.gpus_per_trial = 1 / options.trials_per_gpu if self._gpus else 1.0
        self._threads = options.threads or max(1, cores // self._workers)
        self._own: dict[Path, tuple[BaseProcess, str | None]] = {}
        """Trial directory -> its worker, which may have others too, and the worker's GPU."""
        self._attached: dict[Path, tuple[str, str | None]] = {}
        """Trial directory -> the job that an earlier driver gave it, and the GPU of that."""
        self._context = processes.context()

    @property
    def slots(self) -> int:
        """Trials that may run at a time; a worker is free when all that it was given have ended."""
        return len(self._own) + len(self._attached) + self._free() * self.together

    def _busy(self) -> list[str | None]:
        """Return the GPU of each worker at work."""
        own = {worker.pid: gpu for worker, gpu in self._own.values()}
        return [*own.values(), *dict(self._attached.values()).values()]

    def _free(self) -> int:
        return max(0, self._workers - len(self._busy()))

    def submit(self, trial: TrialFunction, trial_dirs: Sequence[Path]) -> list[str]:
        """Share the trials out among workers; see `Engine.submit`."""
        groups = divide(trial_dirs, max(1, self._free()), self.together)
        ids = {path: job_id for group in groups for path, job_id in self._start(trial, group)}
        return [ids[trial_dir] for trial_dir in trial_dirs]

    def _start(self, trial: TrialFunction, trial_dirs: Sequence[Path]) -> list[tuple[Path, str]]:
        held = self._busy()
        gpu = min(self._gpus, key=held.count) if self._gpus else None
        with contextlib.ExitStack() as stack:
            locks = []
            for trial_dir in trial_dirs:
                lock = _job_lock(trial_dir)
                if lock is None:
                    raise EngineError(
                        f"a worker of an earlier driver still runs {trial_dir}; stop it"
                    )
                locks.append(stack.enter_context(lock))
            paths = [trial_dir.absolute() for trial_dir in trial_dirs]
            worker = self._context.Process(
                target=_work, args=(trial, paths, gpu, self._threads, locks)
            )
            with processes.hidden_main():
                worker.start()
        self._own.update(dict.fromkeys(trial_dirs, (worker, gpu)))
        return [(path, f"{socket.gethostname()}:{worker.pid}") for path in trial_dirs]

    def attach(self, trial_dir: Path, job_id: str | None) -> str | None:
        """Watch a worker that holds its lock; see `Engine.attach`."""
        if not (trial_dir / _LOCK).exists():
            return None
        lock = _job_lock(trial_dir)
        if lock is not None:
            lock.close()
            return None
        job = read_job(trial_dir)
        found = str(job_id or job.get("job_id") or self.name)
        self._attached[trial_dir] = found, job.get("device")
        return found

    def wait(self, seconds: float) -> list[Ended]:
        """Block until a worker is over, or for so long; see `Engine.wait`.

        Raises:
            StorageError: A worker could not write.
        """
        deadline = time.monotonic() + seconds
        while True:
            left = max(0.0, deadline - time.monotonic())
            step = min(left, _POLL_SECONDS) if self._attached else left
            sentinels = list({worker.sentinel for worker, _ in self._own.values()})
            if sentinels:
                wait(sentinels, timeout=step)
            else:
                time.sleep(step)
            found = self._over()
            if found or left <= step:
                return found

    def _over(self) -> list[Ended]:
        found, over = [], []
        for trial_dir, (worker, _) in list(self._own.items()):
            if worker.exitcode is not None:
                del self._own[trial_dir]
                found.append(_ended(trial_dir, worker.exitcode))
                over.append(worker)
        for worker in set(over):
            worker.close()
        for trial_dir in list(self._attached):
            lock = _job_lock(trial_dir)
            if lock is not None:
                lock.close()
                del self._attached[trial_dir]
                found.append(_ended_unseen(trial_dir))
        return found

    def cancel(self, trial_dirs: Sequence[Path]) -> None:
        """Tell workers to save their state and go; trials that train together go together."""
        told = set()
        for trial_dir in trial_dirs:
            job = read_job(trial_dir)
            if trial_dir in self._own:
                told.add(self._own[trial_dir][0].pid)
            elif trial_dir in self._attached and job.get("host") == socket.gethostname():
                told.add(job.get("pid"))
        for pid in told:
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


def divide(trial_dirs: Sequence[Path], workers: int, together: int) -> list[list[Path]]:
    """Share trials out: those that train as one program side by side, groups of equal size.

    Args:
        trial_dirs: The trials; each with its config.yaml where `together` is above 1.
        workers: Workers that are free.
        together: Most trials of a worker.
    """
    if together == 1:
        return [[trial_dir] for trial_dir in trial_dirs]
    alike: dict[str, list[Path]] = {}
    for trial_dir in trial_dirs:
        alike.setdefault(stack_key(configs.load(trial_dir / "config.yaml")), []).append(trial_dir)
    ordered = [trial_dir for group in alike.values() for trial_dir in group]
    size = min(together, -(-len(ordered) // workers))
    return [ordered[i : i + size] for i in range(0, len(ordered), size)]


def _work(
    trial: TrialFunction,
    trial_dirs: Sequence[Path],
    gpu: str | None,
    threads: int,
    locks: Sequence[Connection],
) -> None:
    """Run trials in a new process; `locks` are held until the process is gone."""
    signal.signal(signal.SIGTERM, interrupt)
    os.setsid()  # Ctrl-C is for the driver, which then tells its workers
    for trial_dir in trial_dirs[1:]:
        with (trial_dir / LOG).open("a") as log:
            log.write(f"trained together with {trial_dirs[0].name}, whose {LOG} has the output\n")
    with (trial_dirs[0] / LOG).open("ab", buffering=0) as log:
        os.dup2(log.fileno(), sys.stdout.fileno())
        os.dup2(log.fileno(), sys.stderr.fileno())
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    processes.use_threads(threads)
    try:
        run_jobs(trial, trial_dirs, f"{socket.gethostname()}:{os.getpid()}")
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
