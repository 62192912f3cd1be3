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
from omegaconf import OmegaConf
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
from gan_bench.schema import LATER_FIELDS, SCHEMA, Config, EvaluatorConfig, runtime_fields

__all__ = ["Config", "EvaluatorConfig", "runtime_fields"]

GROUPS: dict[str, Registry[Any]] = {
    registry.kind: registry
    for registry in (DATASETS, ARCHITECTURES, LOSSES, REGULARIZERS, NORMALIZERS)
}


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
    config.evaluator.metrics = [_metric(each) for each in config.evaluator.metrics]
    check(config)
    return config


def _metric(given: Any) -> str | dict[str, Any]:
    """Return a metric by its full name, with the options that are not the defaults."""
    if not isinstance(given, (str, Mapping)):
        raise ConfigError(f"metric {given} is neither a name nor a mapping with a name")
    chosen = METRICS.normalize({"name": given} if isinstance(given, str) else given)
    name = chosen["name"]
    defaults = METRICS.entry(name).options
    changed = {key: chosen[key] for key in defaults if chosen[key] != defaults[key]}
    return {"name": name, **changed} if changed else str(name)


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
    for name in ("batch_size", "accumulate", "n_disc", "log_every", "checkpoint_every"):
        value = getattr(training, name)
        require(value >= 1, f"training.{name} is {value}; it must be at least 1")
    require(
        training.batch_size % training.accumulate == 0,
        f"training.accumulate is {training.accumulate}; it must divide the batch size "
        f"({training.batch_size})",
    )
    for name in ("steps", "d_steps", "sample_every", "evaluate_every", "workers"):
        value = getattr(training, name)
        require(value is None or value >= 0, f"training.{name} is {value}; it can't be negative")
    if training.ema_decay is not None:
        require(0 <= training.ema_decay < 1, "training.ema_decay must lie in [0, 1)")
    _one_of("training.precision", training.precision, ("float32", "tf32", "bf16"))
    for name in ("n_real", "n_fake", "batch_size"):
        value = getattr(evaluator, name)
        low = 1 if name == "batch_size" else 2
        require(value is None or value >= low, f"evaluator.{name} must be at least {low}")
    require(evaluator.sets >= 1, f"evaluator.sets is {evaluator.sets}; it must be at least 1")
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
    for field, default in LATER_FIELDS.items():
        if training[field] == default:  # as in configs that know no such field
            del training[field]
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
