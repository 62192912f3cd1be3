"""One trial: a config in, a run directory out.

    run_dir/config.yaml         the resolved config
            train.jsonl         losses and speed
            evaluations.jsonl   one line an evaluation
            checkpoints/        the newest two, and the best-evaluated generator (best.pt)
            samples/step_*.png  a fixed latent grid
            result.json         written when the trial has ended

`run_trial(run_dir)` is all that an engine calls, on any machine. It goes on from the newest
checkpoint by itself, and a finished trial returns its result at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from gan_bench import config as configs
from gan_bench import files
from gan_bench.config import Config
from gan_bench.errors import BusyError, ConfigError, StorageError
from gan_bench.evaluation import Evaluator
from gan_bench.hardware import choose_device, cpu_threads, device_name, versions
from gan_bench.interfaces import Dataset
from gan_bench.listener import Listeners, RunListener
from gan_bench.measure import build_evaluator
from gan_bench.overfitting import discriminator_accuracy
from gan_bench.registry import DATASETS
from gan_bench.result import RESULT_SCHEMA, best_evaluation, read_result, without, write_failure
from gan_bench.samples import LatentSampler, write_grid
from gan_bench.signals import deferred_interrupts, sigterm_as_interrupt
from gan_bench.trackers import build_trackers
from gan_bench.training import checkpoint
from gan_bench.training.trainer import DivergedError, Trainer

ENDED = ("completed", "diverged", "stopped")
"""Statuses of runs that don't go on."""
_STOP = "stop.json"


def default_run_dir(config: Config) -> Path:
    """Return results/runs/<dataset>-<architecture>-<loss>-<digest of the config>."""
    names = (config.dataset, config.architecture, config.loss)
    label = "-".join(part["name"] for part in names)
    return Path("results") / "runs" / f"{label}-{files.digest(configs.identity(config), 10)}"


def prepare(config: Config) -> Path:
    """Make the run directory with its config; one that holds another config is refused.

    Raises:
        ConfigError: The directory belongs to a run with other settings.
        StorageError: It can't be written.
    """
    run_dir = Path(config.run_dir) if config.run_dir else default_run_dir(config)
    path = run_dir / "config.yaml"
    if path.exists():
        changed = configs.differences(
            configs.identity(configs.load(path)), configs.identity(config)
        )
        if changed:
            raise ConfigError(
                f"{run_dir} holds a run with other settings ({'; '.join(changed)}); "
                "choose another run_dir"
            )
    else:
        configs.save(config, path)
    return run_dir


def run_trial(run_dir: Path, listener: RunListener | None = None) -> dict[str, Any]:
    """Run or continue a trial; a fault of the trial becomes its result, with status "failed".

    Args:
        run_dir: A directory with a config.yaml.
        listener: Told about progress.

    Returns:
        The content of result.json.

    Raises:
        StorageError: The disk is full or read-only: not the trial's fault.
        BusyError: Another process runs this trial.
        KeyboardInterrupt: SIGINT or SIGTERM; the state is saved.
    """
    try:
        return train(run_dir, listener)
    except (StorageError, BusyError):
        raise
    except Exception as error:
        return write_failure(run_dir, error)


def request_stop(run_dir: Path, reason: str) -> None:
    """Ask a run, wherever it goes on, to end at its next event with what it has measured.

    Its status is then "stopped" and its error the reason.
    """
    files.write_json(run_dir / _STOP, {"reason": reason})


def train(run_dir: Path, listener: RunListener | None = None) -> dict[str, Any]:
    """Run or continue a trial and return its result; faults are raised.

    Raises:
        GanBenchError: The config, data, weights, checkpoint or disk is at fault.
        KeyboardInterrupt: SIGINT or SIGTERM; the state is saved.
    """
    finished = read_result(run_dir)
    if finished is not None and finished["status"] in ENDED:
        return finished
    config = configs.load(run_dir / "config.yaml")
    device = choose_device(config.device)
    with (
        files.locked(run_dir / ".lock", f"run {run_dir}"),
        cpu_threads(config.threads),
        sigterm_as_interrupt(),
        torch.random.fork_rng(),
    ):
        run = Run(config, run_dir, device, listener)
        try:
            return run.execute()
        finally:
            run.close()


class Run:
    """A trial in progress: the trainer, the evaluator and the files."""

    def __init__(
        self,
        config: Config,
        run_dir: Path,
        device: torch.device,
        listener: RunListener | None = None,
        like: Run | None = None,
    ) -> None:
        """Build all of it, and take up the newest checkpoint.

        Args:
            config: The trial's.
            run_dir: Its directory.
            device: Where it trains.
            listener: Told about progress.
            like: A run of the same data set in this process: what both need is loaded once.

        Raises:
            GanBenchError: The config, data, weights or checkpoint is at fault.
        """
        self.config, self.run_dir, self.device = config, run_dir, device
        self.listener = Listeners([listener or RunListener(), *build_trackers(config, run_dir)])
        self.dataset: Dataset = like.dataset if like else DATASETS.from_config(config.dataset)
        shared = like.evaluator if like and like.config.evaluator == config.evaluator else None
        # before training: missing weights must not show after three days
        self.evaluator: Evaluator = shared or build_evaluator(config, self.dataset, device)
        if self.evaluator.needs.labels:
            raise ConfigError(
                "intra_fid needs the classes of generated images, and no architecture here is "
                "conditional; leave it out of evaluator.metrics"
            )
        self.trainer = Trainer(config, self.dataset, device)
        self.total = config.training.g_steps
        self.result: dict[str, Any] | None = None
        """What result.json holds, once it has ended."""
        self.checkpoints = run_dir / "checkpoints"
        self._logged = (0, 0.0)
        content = checkpoint.load_newest(self.checkpoints, device)
        if content is not None:
            self.trainer.restore(content)
            self._logged = tuple(content["logged"])  # type: ignore[assignment]
        for name in ("train.jsonl", "evaluations.jsonl"):
            files.keep_jsonl(run_dir / name, lambda line: line["step"] <= self.trainer.step)

    def execute(self) -> dict[str, Any]:
        """Train to the end, doing at each step what is due there."""
        try:
            for until in self.events():
                with deferred_interrupts() as stop:
                    self.trainer.advance(until, stop)
                    self.log_if_due()
                if stop():
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            self.save_if_whole()
            raise
        except DivergedError as diverged:
            self.end("diverged", str(diverged))
        assert self.result is not None
        return self.result

    def events(self) -> Iterator[int]:
        """Yield each step at which something is due, to be trained up to; then do it.

        At the end the result is written.

        Raises:
            DivergedError: A loss or an image became NaN or infinite; the caller ends the run.
        """
        self.listener.started(self.trainer.step, self.total, self.run_dir)
        self._do_what_is_due()
        while not self._at_end:
            if (self.run_dir / _STOP).exists():
                asked = files.read_json(self.run_dir / _STOP, what="request to stop")
                self.end("stopped", str(asked["reason"]))
                return
            yield self._next_event()
            self._do_what_is_due()
        self.end("completed")

    def end(self, status: str, error: str | None = None) -> None:
        """Write the result."""
        self.result = self._result(status, error)
        files.write_json(self.run_dir / "result.json", self.result)
        self.listener.ended(self.result)

    def log_if_due(self) -> None:
        """Write a line of train.jsonl where one is due; steps that are done must not lack it.

        Raises:
            DivergedError: A loss since the last line was NaN or infinite.
        """
        if self._at_end or _due(self.trainer.step, self.config.training.log_every):
            self._log()

    def save_if_whole(self) -> None:
        """Save the state, unless an update was cut short."""
        if self.trainer.whole:
            self._save()

    def close(self) -> None:
        """Let go of loader processes and trackers."""
        self.trainer.close()
        self.listener.closed()

    @property
    def _at_end(self) -> bool:
        return self.trainer.step >= self.total

    def _next_event(self) -> int:
        training = self.config.training
        every = (
            training.log_every,
            training.checkpoint_every,
            training.sample_every,
            training.evaluate_every,
        )
        step = self.trainer.step
        return min([self.total] + [(step // n + 1) * n for n in every if n])

    def _do_what_is_due(self) -> None:
        """Checkpoint first: what follows can be done again from it."""
        step, training = self.trainer.step, self.config.training
        evaluated = self._at_end or _due(step, training.evaluate_every)
        if self._at_end or _due(step, training.checkpoint_every):
            self._save()
        if evaluated or step == 0 or _due(step, training.sample_every):
            path = self.run_dir / "samples" / f"step_{step:06d}.png"
            if not path.exists():
                write_grid(self.trainer.snapshot(), self.config, self.device, path)
                self.listener.sampled(step, path)
        if evaluated:
            self._evaluate()

    def _save(self) -> None:
        self.trainer.check_finite()
        with deferred_interrupts() as stop:
            checkpoint.save(
                self.checkpoints,
                self.trainer.step,
                {**self.trainer.state(), "logged": list(self._logged)},
            )
        if stop():
            raise KeyboardInterrupt

    def _log(self) -> None:
        trainer = self.trainer
        progress = trainer.progress()
        d_steps, seconds = self._logged
        elapsed = max(trainer.seconds - seconds, 1e-9)
        # real images that D has seen, as in `counts`
        images = (trainer.d_steps - d_steps) * self.config.training.batch_size
        self._logged = (trainer.d_steps, trainer.seconds)
        files.append_jsonl(
            self.run_dir / "train.jsonl",
            {
                "step": trainer.step,
                "d_steps": trainer.d_steps,
                "d_loss": progress.d_loss,
                "g_loss": progress.g_loss,
                "penalty": progress.penalty,
                "images_per_second": images / elapsed,
                "seconds": trainer.seconds,
            },
        )
        self.listener.logged(trainer.step, progress, images / elapsed)

    def _evaluate(self) -> None:
        step, earlier = self.trainer.step, self._evaluations()
        if any(line["step"] == step for line in earlier):
            return
        self.listener.evaluating(step)
        generator = self.trainer.snapshot()
        wanted = self.config.evaluator
        sampler = LatentSampler(generator, self.config, self.device)
        metrics = self.evaluator.run(sampler, wanted.sets)
        if wanted.discriminator_accuracy:
            discriminator = self.trainer.game.discriminator
            metrics |= discriminator_accuracy(
                discriminator, generator, self.config, self.dataset, self.device
            )
        record = {"step": step, "d_steps": self.trainer.d_steps, "source": "train", **metrics}
        if best_evaluation([*earlier, record])["step"] == step:
            # before the line: a run killed in between evaluates this step again
            checkpoint.save_best(self.checkpoints, step, generator.state_dict())
        files.append_jsonl(self.run_dir / "evaluations.jsonl", record, sync=True)
        self.listener.evaluated(step, metrics)

    def _evaluations(self) -> list[dict[str, Any]]:
        lines = files.read_jsonl(self.run_dir / "evaluations.jsonl")
        return [line for line in lines if line.get("source") == "train"]

    def _result(self, status: str, error: str | None) -> dict[str, Any]:
        evaluations = self._evaluations()
        metrics = without(evaluations[-1], "step", "d_steps", "source") if evaluations else {}
        batch = self.config.training.batch_size
        return {
            "schema": RESULT_SCHEMA,
            "protocol": metrics.get("protocol"),
            "trial_id": self.run_dir.name,
            "status": status,
            "config": configs.to_dict(self.config),
            "metrics": metrics,
            "best": best_evaluation(evaluations),
            "counts": {
                "g_steps": self.trainer.step,
                "d_steps": self.trainer.d_steps,
                "images_seen": self.trainer.d_steps * batch,
            },
            "seconds": {
                "train": self.trainer.seconds,
                "evaluate": sum(line.get("seconds_evaluate") or 0.0 for line in evaluations),
            },
            "versions": versions(),
            "device": device_name(self.device),
            "error": error,
        }


def _due(step: int, every: int) -> bool:
    return bool(every and step) and step % every == 0
