"""Ray, on this machine or on a cluster: a trial is an actor, with a share of a GPU if need be.

On an existing cluster the actors are detached: they outlive a driver that was killed, and the next
one finds them by their names, which the trials' directories give. A Ray that the driver has
started itself dies with it; its trials then go on from their checkpoints.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import secrets
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gan_bench import files
from gan_bench.errors import ConfigError, EngineError, StorageError, require
from gan_bench.sweep import processes
from gan_bench.sweep.engines.base import Ended, TrialFunction
from gan_bench.sweep.engines.ray_worker import LOCK, LOG, Runner, how_it_ended
from gan_bench.sweep.job import read_job

_GRACE_SECONDS = 300.0
"""How long trials that were told to go may take to save their state."""
_LEAVING_SECONDS = 30.0
"""How long to wait for the worker or the name of an actor that is dying."""
_LOOK_SECONDS = 10.0
"""How often a cluster, which may grow, is asked for its resources."""
_OBJECT_STORE_BYTES = 100 * 2**20
"""Of a Ray of the driver's own, which passes no objects; Ray would take 30% of the memory."""


@dataclasses.dataclass
class RayOptions:
    """Where trials run; `engine.FIELD` on the command line."""

    address: str | None = None
    """An existing cluster ("auto", "ray://host:10001", "host:6379"); None: start one here."""
    slots: int | None = None
    """Trials at a time; None: as many as the resources allow."""
    gpus_per_trial: float = 0.0
    """Below 1, several trials share a GPU."""
    cpus_per_trial: float = 1.0
    memory_gb: float | None = None
    resources: dict[str, float] = dataclasses.field(default_factory=dict)
    """Custom resources of a trial."""
    namespace: str = "gan_bench"
    """Where a cluster keeps the actors' names; drivers of one study must agree on it."""

    def __post_init__(self) -> None:
        """Refuse values out of range (ConfigError)."""
        require(
            self.slots is None or self.slots >= 1,
            f"engine.slots is {self.slots}; it must be at least 1",
        )
        for name in ("gpus_per_trial", "cpus_per_trial"):
            value = getattr(self, name)
            require(value >= 0, f"engine.{name} is {value}; it can't be negative")
        require(
            self.gpus_per_trial + self.cpus_per_trial > 0,
            "engine.gpus_per_trial and engine.cpus_per_trial are both 0: a trial needs something",
        )
        gpus = self.gpus_per_trial
        require(
            gpus <= 1 or gpus == int(gpus),
            f"engine.gpus_per_trial is {gpus}; above 1 it must be a whole number",
        )
        memory = self.memory_gb
        require(memory is None or memory > 0, f"engine.memory_gb is {memory}; it must be above 0")
        for name, value in self.resources.items():
            require(value > 0, f"engine.resources.{name} is {value}; it must be above 0")
            require(
                name not in ("CPU", "GPU", "memory"),
                f"engine.resources names {name}; that is engine.cpus_per_trial, gpus_per_trial or "
                "memory_gb",
            )
        for name in ("address", "namespace"):
            require(getattr(self, name) != "", f"engine.{name} is empty")

    @property
    def own(self) -> bool:
        """Whether the driver starts a Ray of its own."""
        return self.address in (None, "local")

    @property
    def needs(self) -> dict[str, float]:
        """What a trial takes, by Ray's names; what it takes nothing of is left out."""
        memory = (self.memory_gb or 0.0) * 2**30
        basic = {"CPU": self.cpus_per_trial, "GPU": self.gpus_per_trial, "memory": memory}
        return {name: each for name, each in {**basic, **self.resources}.items() if each}


class RayEngine:
    """Runs trials as Ray actors."""

    name = "ray"
    concurrent = True
    together = 1

    def __init__(self, study_dir: Path, options: RayOptions | None = None) -> None:
        """Connect to a Ray, or start one.

        Args:
            study_dir: The study's directory, on a file system that all nodes see.
            options: See `RayOptions`.

        Raises:
            ConfigError: Ray is not installed, or has not the resources of a single trial.
            EngineError: The cluster can't be reached.
        """
        self._options = options or RayOptions()
        try:
            import ray
        except ImportError:
            raise ConfigError("engine=ray needs ray; pip install 'gan-bench[ray]'") from None
        self._ray: Any = ray
        self._connect()
        self.gpus_per_trial = self._options.gpus_per_trial or 1.0
        self._jobs: dict[Any, tuple[Path, Any]] = {}
        """What is waited for -> trial directory and actor."""
        self._told: set[Path] = set()
        """Those told to go: a second signal could cut the saving of their state short."""
        self._looked: tuple[float, int] | None = None
        if self._options.slots is None or self._options.own:  # a cluster may yet grow
            self._check_resources()

    def _connect(self) -> None:
        own = self._options.own
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        given: dict[str, Any] = {}
        if own:
            _keep_token_in_memory()
            given = {"include_dashboard": False, "object_store_memory": _OBJECT_STORE_BYTES}
        try:
            with _sigterm_kept():
                self._ray.init(
                    address="local" if own else self._options.address,
                    namespace=self._options.namespace,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    **given,
                )
        except Exception as error:  # Ray has many ways to say that it can't connect
            where = "a Ray on this machine" if own else self._options.address
            raise EngineError(f"{where} can't be reached: {' '.join(str(error).split())}") from None

    def _check_resources(self) -> None:
        if self._room() >= 1:
            return
        there = self._ray.cluster_resources()
        self._ray.shutdown()
        needs = self._options.needs
        wanted = ", ".join(f"{name} {each:g}" for name, each in needs.items())
        found = ", ".join(f"{name} {there.get(name, 0):g}" for name in needs)
        raise ConfigError(
            f"no node of Ray has the resources of one trial ({wanted}); all together have {found}"
        )

    def _room(self) -> int:
        """How many trials the nodes hold; a trial can't be spread over several."""
        needs = self._options.needs.items()
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        # 3 * 0.33 GPUs are one
        return sum(
            min(int(node.get(name, 0) / each + 1e-9) for name, each in needs) for node in nodes
        )

    @property
    def slots(self) -> int:
        """How many trials may run at a time; a cluster that grows has more."""
        if self._options.slots is not None:
            return self._options.slots
        if self._looked is None or time.monotonic() - self._looked[0] > _LOOK_SECONDS:
            self._looked = time.monotonic(), max(1, self._room())
        return self._looked[1]

    def submit(self, trial: TrialFunction, trial_dirs: Sequence[Path]) -> list[str]:
        """Start an actor for each trial; Ray queues those that find no resources."""
        started: list[tuple[Path, Any]] = []
        try:
            for trial_dir in trial_dirs:
                started.append((trial_dir, self._start(trial, trial_dir)))
        except BaseException:
            for _, actor in started:
                self._ray.kill(actor)
            raise
        for trial_dir, actor in started:
            self._jobs[actor.run.remote()] = trial_dir, actor
        return [_id(actor) for _, actor in started]

    def _start(self, trial: TrialFunction, trial_dir: Path) -> Any:
        options, name = self._options, actor_name(trial_dir)
        memory = options.memory_gb
        runner: Any = self._ray.remote(Runner)
        actor_class = runner.options(
            name=name,
            lifetime=None if options.own else "detached",
            num_cpus=options.cpus_per_trial,
            num_gpus=options.gpus_per_trial,
            memory=None if memory is None else int(memory * 2**30),
            resources=dict(options.resources) or None,
            max_restarts=0,
        )
        threads = max(1, int(options.cpus_per_trial))
        deadline = time.monotonic() + _LEAVING_SECONDS
        while True:
            try:
                return actor_class.remote(trial, trial_dir.absolute(), threads)
            except ValueError as error:  # the name is taken, if only by an actor that is dying
                if time.monotonic() > deadline:
                    raise EngineError(
                        f"an actor of an earlier driver still runs {trial_dir}: {error}"
                    ) from None
                time.sleep(0.2)

    def attach(self, trial_dir: Path, job_id: str | None) -> str | None:
        """Watch the actor that carries the trial's name; see `Engine.attach`."""
        try:
            actor = self._ray.get_actor(actor_name(trial_dir))
        except ValueError:
            self._wait_for_leaving(trial_dir)
            return None
        # an actor does one thing after the other: this answers when the trial is over
        self._jobs[actor.run.remote()] = trial_dir, actor
        return _id(actor)

    def _wait_for_leaving(self, trial_dir: Path) -> None:
        """The workers of a driver's own Ray live some seconds longer than a killed driver."""
        deadline = time.monotonic() + _LEAVING_SECONDS
        while files.is_locked(trial_dir / LOCK) and time.monotonic() < deadline:
            time.sleep(0.2)

    def wait(self, seconds: float) -> list[Ended]:
        """Block until an actor is done, or for so long; see `Engine.wait`.

        Raises:
            StorageError: A trial could not write.
        """
        if not self._jobs:
            time.sleep(seconds)
            return []
        done, _ = self._ray.wait(list(self._jobs), num_returns=1, timeout=seconds)
        return [ended for reference in done if (ended := self._ended(reference)) is not None]

    def _ended(self, reference: Any) -> Ended | None:
        trial_dir, actor = self._jobs.pop(reference)
        log = trial_dir / LOG
        try:
            cause, error = self._ray.get(reference)
        except self._ray.exceptions.ActorUnavailableError:  # the network, for now: ask again
            self._jobs[actor.run.remote()] = trial_dir, actor
            return None
        except self._ray.exceptions.RayError as fault:
            cause, error = how_it_ended(fault, trial_dir, _id(actor))
            if cause == "lost" and trial_dir in self._told:
                cause, error = "preempted", "the trial was told to stop"
        self._told.discard(trial_dir)
        with contextlib.suppress(Exception):
            self._ray.kill(actor)
        if cause == "storage":
            raise StorageError(error)
        return Ended(trial_dir, cause, error, log)

    def cancel(self, trial_dirs: Sequence[Path]) -> None:
        """Have trials save their state and go; those that have not begun are dropped."""
        chosen, told = set(trial_dirs) - self._told, []
        for trial_dir, actor in list(self._jobs.values()):
            if trial_dir not in chosen:
                continue
            self._told.add(trial_dir)
            job = read_job(trial_dir)
            mine = job.get("job_id") == _id(actor)  # else it is of an actor before this one
            if mine and job.get("state") != "running":
                continue
            if mine and self._options.own:
                processes.terminate(job["pid"])
            elif mine and (node := self._node_of(job["host"])) is not None:
                told.append(self._terminate_on(node, job["pid"]))
            else:
                self._ray.kill(actor)
        if told:
            self._ray.wait(told, num_returns=len(told), timeout=60)

    def _node_of(self, host: str) -> str | None:
        there = {n["NodeManagerHostname"]: n["NodeID"] for n in self._ray.nodes() if n["Alive"]}
        return there.get(host)

    def _terminate_on(self, node: str, pid: int) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        on_node: Any = NodeAffinitySchedulingStrategy
        tell = self._ray.remote(processes.terminate)
        strategy = on_node(node, soft=False)
        return tell.options(num_cpus=0, scheduling_strategy=strategy).remote(pid)

    def close(self) -> None:
        """Stop a Ray that was started here, its trials' state saved; leave a cluster alone."""
        if not self._ray.is_initialized():
            return
        if self._options.own:
            deadline = time.monotonic() + _GRACE_SECONDS
            self.cancel([trial_dir for trial_dir, _ in self._jobs.values()])
            while self._jobs and time.monotonic() < deadline:
                with contextlib.suppress(StorageError):
                    self.wait(1.0)
        self._ray.shutdown()


@contextlib.contextmanager
def _sigterm_kept() -> Iterator[None]:
    """Keep the program's answer to SIGTERM, which Ray replaces by its own when it starts."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


def _keep_token_in_memory() -> None:
    """Give a Ray that starts here its token, which it would write under the home directory."""
    there = (Path.home() / ".ray" / "auth_token").exists()
    named = {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys()
    if not there and not named and os.environ.get("RAY_AUTH_MODE", "token") == "token":
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def actor_name(trial_dir: Path) -> str:
    """Return the name under which a cluster knows the actor of a trial."""
    return f"trial-{files.digest(str(trial_dir.resolve()))}"


def _id(actor: Any) -> str:
    return str(actor._actor_id.hex())
