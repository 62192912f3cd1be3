"""TensorBoard, Weights & Biases and MLflow: what a run does, shown where people look.

    gan-bench train trackers=[tensorboard]
    gan-bench sweep study=demo 'trackers=[{name: wandb, project: gans, mode: offline}]'

The run directory's files stay the truth. A tracker is told what they are told; it can't change a
run's numbers, and one that fails on the way (a network, a disk of its own) is switched off with a
warning. A run that goes on after an interruption goes on in the same tracker's run.
"""

from __future__ import annotations

import importlib
import logging
import netrc
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from gan_bench import config as configs
from gan_bench import files
from gan_bench.config import Config
from gan_bench.errors import ConfigError, require, unknown
from gan_bench.listener import RunListener
from gan_bench.training.trainer import Progress

log = logging.getLogger(__name__)

_KEY = ".tracker"
_WANDB_MODES = ("online", "offline", "disabled", "shared")


class Tracker(RunListener):
    """Passes what a run does on to a library; the subclasses know which."""

    name = ""
    package = ""
    options: Mapping[str, type] = {}

    def __init__(self, config: Config, run_dir: Path, given: Mapping[str, Any]) -> None:
        """Check what can be checked before training.

        Args:
            config: The run's config.
            run_dir: Its directory.
            given: The tracker's options.

        Raises:
            ConfigError: The library is missing, or an option is unknown or of a wrong type.
        """
        for key, value in given.items():
            if key not in self.options:
                raise unknown(f"option of tracker {self.name}", key, self.options)
            require(
                isinstance(value, self.options[key]),
                f"trackers: {key} of {self.name} is {value}; it must be a text",
            )
        try:
            self._library: Any = importlib.import_module(self.package)
        except ImportError as error:
            raise ConfigError(
                f"tracker {self.name} needs a package that is missing ({error.name}); "
                "pip install 'gan-bench[tracking]'"
            ) from None
        self._config, self._run_dir, self._given = config, run_dir, given
        self._key = _key_of(run_dir)
        self._alive = True

    @property
    def _group(self) -> str:
        """The study's name where the run is a trial, else the data set's."""
        study_dir = self._run_dir.resolve().parent.parent
        is_trial = (study_dir / "study.yaml").exists()
        return study_dir.name if is_trial else str(self._config.dataset["name"])

    def started(self, step: int, total: int, run_dir: Path) -> None:
        """Open the tracker's run, or go on with it."""
        self._try(lambda: self.open(step))

    def logged(self, step: int, progress: Progress, images_per_second: float) -> None:
        """Pass losses and speed on."""
        values = {
            "train/d_loss": progress.d_loss,
            "train/g_loss": progress.g_loss,
            "train/penalty": progress.penalty,
            "train/images_per_second": images_per_second,
        }
        self._try(lambda: self.scalars(step, values))

    def evaluated(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Pass the numbers of an evaluation on."""
        values = {
            f"eval/{key}": float(value)
            for key, value in metrics.items()
            if isinstance(value, (int, float)) and not isinstance(value, bool)
        }
        self._try(lambda: self.scalars(step, values))

    def sampled(self, step: int, path: Path) -> None:
        """Pass a grid of samples on."""
        self._try(lambda: self.image(step, path))

    def ended(self, result: Mapping[str, Any]) -> None:
        """Pass the result on."""
        self._try(lambda: self.result(result))

    def closed(self) -> None:
        """Close the tracker's run."""
        self._try(self.close)
        self._alive = False

    def _try(self, call: Callable[[], None]) -> None:
        if not self._alive:
            return
        try:
            call()
        except Exception as error:  # whatever a library does must not touch the run
            self._alive = False
            reason = " ".join(str(error).split())[:200]
            log.warning("tracker %s is off for the rest of the run: %s", self.name, reason)

    def open(self, step: int) -> None:
        """Open the tracker's run; it goes on after `step`."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Take numbers."""

    def image(self, step: int, path: Path) -> None:
        """Take a PNG file."""

    def result(self, result: Mapping[str, Any]) -> None:
        """Take the run's result."""

    def close(self) -> None:
        """Write what is still to be written."""


class TensorBoardTracker(Tracker):
    """Event files in the run directory: `tensorboard --logdir results`."""

    name = "tensorboard"
    package = "torch.utils.tensorboard"

    def open(self, step: int) -> None:
        """Write on; what was written beyond a resumed run's step is void."""
        purge = step + 1 if step else None
        folder = self._run_dir / "tensorboard"
        self._writer = self._library.SummaryWriter(str(folder), purge_step=purge)
        if not step:
            self._writer.add_text("config", f"```\n{_yaml(self._config)}\n```", 0)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """See `Tracker.scalars`."""
        for key, value in values.items():
            self._writer.add_scalar(key, value, step)

    def image(self, step: int, path: Path) -> None:
        """See `Tracker.image`."""
        import numpy as np

        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
        self._writer.add_image("samples", pixels, step, dataformats="HWC")

    def result(self, result: Mapping[str, Any]) -> None:
        """See `Tracker.result`."""
        self._writer.add_text("status", str(result["status"]))

    def close(self) -> None:
        """See `Tracker.close`."""
        self._writer.close()


class WandbTracker(Tracker):
    """A run of Weights & Biases; without a key or a network `mode: offline`, to sync later."""

    name = "wandb"
    package = "wandb"
    options = {"project": str, "entity": str, "mode": str}

    def __init__(self, config: Config, run_dir: Path, given: Mapping[str, Any]) -> None:
        """Check the mode too; see `Tracker`."""
        super().__init__(config, run_dir, given)
        if given.get("mode", "offline") not in _WANDB_MODES:
            raise unknown("trackers: mode of wandb", given["mode"], _WANDB_MODES)

    def open(self, step: int) -> None:
        """Start the run, or resume the one with this run's id."""
        wandb = self._library
        mode = self._given.get("mode") or os.environ.get("WANDB_MODE")
        if mode is None and not _has_wandb_key():
            mode = "offline"
        self._run = wandb.init(
            project=self._given.get("project", "gan_bench"),
            entity=self._given.get("entity"),
            mode=mode,
            id=self._key,
            name=self._run_dir.name,
            group=self._group,
            resume="allow",
            dir=str(self._run_dir),
            config=configs.to_dict(self._config),
            settings=wandb.Settings(console="off", silent=True, disable_git=True),
        )

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """See `Tracker.scalars`."""
        self._run.log(dict(values), step=step)

    def image(self, step: int, path: Path) -> None:
        """See `Tracker.image`."""
        self._run.log({"samples": self._library.Image(str(path))}, step=step)

    def result(self, result: Mapping[str, Any]) -> None:
        """See `Tracker.result`."""
        self._run.summary["status"] = result["status"]

    def close(self) -> None:
        """See `Tracker.close`."""
        self._run.finish()


class MlflowTracker(Tracker):
    """A run of MLflow: at $MLFLOW_TRACKING_URI, else in a database in the run directory."""

    name = "mlflow"
    package = "mlflow"
    options = {"uri": str, "experiment": str}

    def open(self, step: int) -> None:
        """Start the run, or find the one with this run's tag."""
        default = f"sqlite:///{self._run_dir.resolve() / 'mlflow.db'}"
        uri = self._given.get("uri") or os.environ.get("MLFLOW_TRACKING_URI") or default
        self._client = self._library.MlflowClient(tracking_uri=uri)
        name = self._given.get("experiment") or self._group
        known = self._client.get_experiment_by_name(name)
        experiment = known.experiment_id if known else self._client.create_experiment(name)
        tag = f"tags.`gan_bench.run` = '{self._key}'"
        found = self._client.search_runs([experiment], tag)
        tags = {"gan_bench.run": self._key, "mlflow.runName": self._run_dir.name}
        run = found[0] if found else self._client.create_run(experiment, tags=tags)
        self._id = run.info.run_id
        self._last: dict[str, int] = {}
        if found:
            self._client.update_run(self._id, status="RUNNING")
        else:
            for key, value in _flat(configs.to_dict(self._config)).items():
                self._client.log_param(self._id, key, str(value)[:500])

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """See `Tracker.scalars`."""
        for key, value in values.items():
            if step > self._last_step(key):  # a resumed run comes by the same steps again
                self._client.log_metric(self._id, key, value, step=step)
                self._last[key] = step

    def _last_step(self, key: str) -> int:
        if key not in self._last:
            history = self._client.get_metric_history(self._id, key)
            self._last[key] = max((point.step for point in history), default=-1)
        return self._last[key]

    def result(self, result: Mapping[str, Any]) -> None:
        """See `Tracker.result`."""
        self._client.set_tag(self._id, "gan_bench.status", str(result["status"]))
        done = result["status"] in ("completed", "stopped")
        self._client.set_terminated(self._id, "FINISHED" if done else "FAILED")


def _key_of(run_dir: Path) -> str:
    """Return the run's id for trackers: its directory keeps it, and one begun anew has another."""
    path = run_dir / _KEY
    if not path.exists():
        files.write_text(path, secrets.token_hex(8))
    return path.read_text().strip()


TRACKERS: dict[str, type[Tracker]] = {
    tracker.name: tracker for tracker in (TensorBoardTracker, WandbTracker, MlflowTracker)
}


def build_trackers(config: Config, run_dir: Path) -> Sequence[Tracker]:
    """Build the trackers of a config.

    Args:
        config: Its `trackers` are names, or mappings with a name and options.
        run_dir: The run's directory.

    Raises:
        ConfigError: A tracker or option is unknown, or a library is missing.
    """
    found = []
    for each in config.trackers:
        given = {"name": each} if isinstance(each, str) else each
        if not isinstance(given, Mapping) or "name" not in given:
            raise ConfigError(f"trackers: {each} is neither a name nor a mapping with a name")
        name = str(given["name"])
        if name not in TRACKERS:
            raise unknown("tracker", name, TRACKERS)
        options = {str(key): value for key, value in given.items() if key != "name"}
        found.append(TRACKERS[name](config, run_dir, options))
    return found


def _has_wandb_key() -> bool:
    """Whether wandb could log in without asking: by its variable, or the netrc file it writes."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    path = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    try:
        return netrc.netrc(str(path)).authenticators("api.wandb.ai") is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _yaml(config: Config) -> str:
    return "\n".join(f"{key}: {value}" for key, value in _flat(configs.to_dict(config)).items())


def _flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found
