"""The config of a run: its schema, how it is composed, checked, saved and told apart.

Hydra composes it from conf/ and the registries' nodes; `finish` is the boundary where the plain
container is merged into fresh typed nodes, which refuses a misspelt field that Hydra let through
with a `+`. Beyond this module a config is a `Config`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, OverrideParseException
from omegaconf import MISSING, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from gan_bench import files
from gan_bench.errors import ConfigError, require, unknown
from gan_bench.registry import (
    ARCHITECTURES,
    DATASETS,
    LOSSES,
    METRICS,
    NORMALIZERS,
    REGULARIZERS,
    Registry,
    load_plugin_file,
)

SCHEMA = 1
GROUPS: dict[str, Registry[Any]] = {
    registry.kind: registry
    for registry in (DATASETS, ARCHITECTURES, LOSSES, REGULARIZERS, NORMALIZERS)
}


@dataclasses.dataclass
class LatentConfig:
    """What G draws from."""

    dim: int = 128
    distribution: str = "uniform"
    """uniform: U[-1, 1]; normal: N(0, 1)."""


@dataclasses.dataclass
class OptimizerConfig:
    """Adam for G and D."""

    lr: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.999
    discriminator_lr: float | None = None
    """D's learning rate where it differs from G's."""


@dataclasses.dataclass
class TrainingConfig:
    """How long and how. Steps are G steps; each has n_disc D steps before it."""

    steps: int | None = None
    """G steps (1000 when neither steps nor d_steps is given)."""
    d_steps: int | None = None
    """The length in D steps instead, as compare_gan v2 counts: steps = ceil(d_steps / n_disc)."""
    batch_size: int = 64
    n_disc: int = 1
    ema_decay: float | None = None
    """Decay of the moving average of G's weights that is evaluated; None: no average."""
    precision: str = "float32"
    """float32, or bf16 (autocast around the networks; losses and optimizers stay float32)."""
    channels_last: bool = False
    log_every: int = 50
    checkpoint_every: int = 500
    sample_every: int = 0
    """Steps between sample grids; 0: at the start and the end only."""
    evaluate_every: int = 0
    """Steps between evaluations; 0: at the end only."""
    workers: int = 2
    """Loader processes of data sets that do not fit in memory."""

    @property
    def g_steps(self) -> int:
        """The length in G steps."""
        if self.d_steps is not None:
            return -(-self.d_steps // self.n_disc)
        return 1000 if self.steps is None else self.steps


@dataclasses.dataclass
class EvaluatorConfig:
    """What is measured on a generator, and against what."""

    extractor: str = "inception"
    """inception, or classifier:NAME (a classifier trained on the labels of data set NAME)."""
    metrics: list[str] = dataclasses.field(
        default_factory=lambda: ["fid", "inception_score", "kid", "precision_recall", "ms_ssim"]
    )
    split: str = "test"
    n_real: int | None = None
    """Real images; None: the whole split."""
    n_fake: int = 10_000
    batch_size: int = 256
    seed: int = 0
    """Seed of the evaluated latents and of the metrics' own draws."""
    weights_path: str | None = None
    """The Inception weights, where the library's own download is not to be used."""


@dataclasses.dataclass
class Config:
    """All that decides a run's result, and where it runs."""

    schema: int = SCHEMA
    dataset: Any = MISSING
    architecture: Any = MISSING
    loss: Any = MISSING
    regularizer: Any = MISSING
    normalizer: Any = MISSING
    latent: LatentConfig = dataclasses.field(default_factory=LatentConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)
    evaluator: EvaluatorConfig = dataclasses.field(default_factory=EvaluatorConfig)
    seed: int = 0
    device: str = "auto"
    """auto (a GPU if there is one), cpu, cuda or cuda:N."""
    threads: int | None = None
    """CPU threads; None: as many as torch chooses. Small networks are fastest with one."""
    run_dir: str | None = None
    """Where the run is kept; None: results/runs/<names>-<digest of the config>."""
    plugins: list[str] = dataclasses.field(default_factory=list)
    """Python files to import first; they register losses and other parts of your own."""


_RUNTIME_FIELDS = (
    "device",
    "threads",
    "run_dir",
    "plugins",
    "training.log_every",
    "training.checkpoint_every",
    "training.sample_every",
    "training.workers",
    "evaluator.batch_size",
    "evaluator.weights_path",
    "dataset.download",
    "dataset.in_memory_limit_mb",
)


def runtime_fields(dataset: str) -> tuple[str, ...]:
    """Return the fields that say where and how a run is executed and don't change its result.

    `dataset.root` is one of them where the set's name fixes its content.
    """
    return _RUNTIME_FIELDS if dataset == "image_files" else (*_RUNTIME_FIELDS, "dataset.root")


ConfigStore.instance().store(name="gan_bench_schema", node=Config, provider="gan_bench")


def resource_dir(name: str) -> Path:
    """Return a folder of shipped files ("conf", "sweeps"): in the package or in the checkout."""
    package = Path(__file__).resolve().parent
    installed = package / name
    return installed if installed.is_dir() else package.parent / name


def compose(overrides: Sequence[str] = ()) -> Config:
    """Compose a run's config from conf/ and Hydra overrides.

    Args:
        overrides: As on the command line ("loss=hinge", "training.steps=100").

    Raises:
        ConfigError: An override is malformed, a choice or field unknown, a value out of range.
    """
    load_plugins_of(overrides)
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(resource_dir("conf"))):
            composed = hydra_compose(config_name="config", overrides=list(overrides))
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise ConfigError(explain(error, overrides)) from None
    return finish(composed)


def load_plugins_of(overrides: Sequence[str]) -> None:
    """Import the files of a `plugins=[...]` override: their names must exist before composing."""
    for override in overrides:
        if override.lstrip("+").startswith("plugins="):
            try:
                value = OverridesParser.create().parse_override(override).value()
            except HydraException as error:
                raise ConfigError(explain(error, overrides)) from None
            for path in value if isinstance(value, list) else [value]:
                load_plugin_file(Path(str(path)))


def explain(error: Exception, overrides: Sequence[str] = ()) -> str:
    """Say in one line what a Hydra or OmegaConf error means for the user."""
    if isinstance(error, OverrideParseException):
        return f"'{error.override}' can't be read as an override: {str(error).splitlines()[0]}"
    for override in overrides:
        group, _, choice = override.lstrip("+").partition("=")
        if group in GROUPS and f"'{group}/{choice}'" in str(error):
            try:
                GROUPS[group].canonical(choice)
            except ConfigError as clear:
                return str(clear)
    cause = error if isinstance(error, OmegaConfBaseException) else error.__cause__
    if isinstance(cause, (ConfigAttributeError, ConfigKeyError)):
        node = cause.object_type
        if dataclasses.is_dataclass(node) and cause.key is not None:
            names = [field.name for field in dataclasses.fields(node)]
            if cause.key not in names:
                parent = str(cause.full_key or "").rpartition(".")[0] or "the config"
                return str(unknown(f"field of {parent}", cause.key, names))
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if isinstance(cause, OmegaConfBaseException) and cause is not error:
        lines.append(str(cause).splitlines()[0])
    kept = [
        line
        for line in lines
        if not line.startswith(("full_key", "object_type", "reference_type", "See https"))
        and "To append to your config use" not in line
    ]
    return "; ".join(kept)


def finish(composed: Any) -> Config:
    """Turn a composed or loaded config into a checked `Config`.

    Raises:
        ConfigError: A field is unknown or missing, or a value has a wrong type or range.
    """
    try:
        plain = (
            OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
            if OmegaConf.is_config(composed)
            else composed
        )
    except OmegaConfBaseException as error:
        raise ConfigError(explain(error)) from None
    if not isinstance(plain, Mapping):
        raise ConfigError("a config is a mapping of fields; this one is not")
    return _typed({str(key): value for key, value in plain.items()})


def _typed(plain: dict[str, Any]) -> Config:
    plain.pop("hydra", None)
    fields = {field.name for field in dataclasses.fields(Config)}
    for key in plain:
        if key not in fields:
            raise unknown("field of the config", key, fields)
    if plain.get("schema", SCHEMA) != SCHEMA:
        raise ConfigError(
            f"this config has schema {plain['schema']}, this version reads {SCHEMA}; "
            "use the version of gan_bench that wrote it"
        )
    for path in plain.get("plugins", []):
        load_plugin_file(Path(path))
    for group, registry in GROUPS.items():
        chosen = plain.get(group)
        if isinstance(chosen, str):
            chosen = {"name": chosen}
        if not isinstance(chosen, Mapping):
            raise ConfigError(f"no {group} chosen; one of {', '.join(registry.names())}")
        plain[group] = registry.normalize(chosen)
    try:
        config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Config), plain))
    except OmegaConfBaseException as error:
        raise ConfigError(explain(error)) from None
    assert isinstance(config, Config)
    config.evaluator.metrics = [METRICS.canonical(name) for name in config.evaluator.metrics]
    check(config)
    return config


def check(config: Config) -> None:
    """Refuse values out of range (ConfigError)."""
    latent, adam, training, evaluator = (
        config.latent,
        config.optimizer,
        config.training,
        config.evaluator,
    )
    require(latent.dim >= 1, f"latent.dim is {latent.dim}; it must be at least 1")
    _one_of("latent.distribution", latent.distribution, ("uniform", "normal"))
    require(adam.lr > 0, f"optimizer.lr is {adam.lr}; it must be above 0")
    for name in ("beta1", "beta2"):
        beta = getattr(adam, name)
        require(0 <= beta < 1, f"optimizer.{name} is {beta}; it must lie in [0, 1)")
    if adam.discriminator_lr is not None:
        require(adam.discriminator_lr > 0, "optimizer.discriminator_lr must be above 0")
    require(
        training.steps is None or training.d_steps is None,
        "training.steps and training.d_steps are both set; give the length as one of them",
    )
    for name in ("batch_size", "n_disc", "log_every", "checkpoint_every"):
        value = getattr(training, name)
        require(value >= 1, f"training.{name} is {value}; it must be at least 1")
    for name in ("steps", "d_steps", "sample_every", "evaluate_every", "workers"):
        value = getattr(training, name)
        require(value is None or value >= 0, f"training.{name} is {value}; it can't be negative")
    if training.ema_decay is not None:
        require(0 <= training.ema_decay < 1, "training.ema_decay must lie in [0, 1)")
    _one_of("training.precision", training.precision, ("float32", "bf16"))
    for name in ("n_real", "n_fake", "batch_size"):
        value = getattr(evaluator, name)
        low = 1 if name == "batch_size" else 2
        require(value is None or value >= low, f"evaluator.{name} must be at least {low}")
    require(bool(evaluator.metrics), "evaluator.metrics is empty; name at least one metric")
    require(config.threads is None or config.threads >= 1, "threads must be at least 1")
    require(config.seed >= 0, f"seed is {config.seed}; it can't be negative")


def override_evaluator(config: Config, overrides: Sequence[str]) -> EvaluatorConfig:
    """Return a config's evaluator with overrides ("evaluator=inception", "evaluator.n_fake=100").

    Raises:
        ConfigError: An override is not the evaluator's, or its value is refused.
    """
    groups = [override for override in overrides if override.startswith("evaluator=")]
    fields = [override for override in overrides if override.startswith("evaluator.")]
    for override in overrides:
        if override not in groups and override not in fields:
            raise ConfigError(f"'{override}': only the evaluator of a finished run can be changed")
    plain = to_dict(config)
    if groups:
        chosen = compose([f"dataset={config.dataset['name']}", *groups])
        plain["evaluator"] = dataclasses.asdict(chosen.evaluator)
    dotted = [override.removeprefix("evaluator.") for override in fields]
    plain["evaluator"].update(OmegaConf.to_container(OmegaConf.from_dotlist(dotted)))
    return finish(plain).evaluator


def _one_of(field: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise unknown(field, value, choices)


def to_dict(config: Config) -> dict[str, Any]:
    """Return the config as plain containers."""
    return dataclasses.asdict(config)


def save(config: Config, path: Path) -> None:
    """Write the config as YAML, atomically."""
    files.write_text(path, OmegaConf.to_yaml(OmegaConf.create(to_dict(config))))


def load(path: Path) -> Config:
    """Read a saved config.

    Raises:
        ConfigError: The file is missing, is no config, or is from an incompatible version.
    """
    try:
        return finish(OmegaConf.load(path))
    except FileNotFoundError:
        raise ConfigError(f"{path} is missing; is {path.parent} a run directory?") from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    except Exception as error:  # PyYAML has many ways to say that a file is no YAML
        raise ConfigError(f"{path} can't be read: {' '.join(str(error).split())}") from None


def identity(config: Config) -> dict[str, Any]:
    """Return what decides the result: the config without its runtime fields."""
    plain = to_dict(config)
    training = plain["training"]
    training["steps"], training["d_steps"] = config.training.g_steps, None
    for field in runtime_fields(config.dataset["name"]):
        *parents, leaf = field.split(".")
        node = plain
        for parent in parents:
            node = node[parent]
        node.pop(leaf, None)
    return plain


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any], prefix: str = "") -> list[str]:
    """List where two nested mappings differ, as "field: ours -> theirs"."""
    found = []
    for key in sorted({*ours, *theirs}):
        a, b = ours.get(key), theirs.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append(f"{prefix}{key}: {a} -> {b}")
    return found
