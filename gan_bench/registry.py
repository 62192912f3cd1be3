"""Registries: one decorated class or function is the entry, the Hydra choice and its documentation.

A builder's positional parameters are what the harness hands it at run time (an image's shape);
its keyword-only parameters, each with a type and a default, are the hyper-parameters. They are
the only place where a default stands: the Hydra node is derived from them.

Example:
    >>> from gan_bench.registry import LOSSES
    >>> @LOSSES.register("my_loss", source="our paper, eq. 3")
    ... class MyLoss:
    ...     '''The sum of the logits, scaled.'''
    ...     def __init__(self, *, scale: float = 1.0) -> None: ...
    ...     def discriminator(self, real_logits, fake_logits): ...
    ...     def generator(self, fake_logits): ...
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import importlib.metadata
import importlib.util
import inspect
import sys
import typing
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import nn

from gan_bench.errors import ConfigError, unknown
from gan_bench.interfaces import Dataset, Loss, Normalizer, Regularizer

T = TypeVar("T")
Builder = TypeVar("Builder", bound=Callable[..., Any])

PLUGIN_GROUP = "gan_bench.plugins"


@dataclasses.dataclass(frozen=True)
class Entry(Generic[T]):
    """One registered name."""

    name: str
    builder: Callable[..., T]
    description: str
    source: str
    aliases: tuple[str, ...]
    node: type
    """Dataclass with the field `name` and one typed, defaulted field per hyper-parameter."""
    options: dict[str, Any]
    """The hyper-parameters and their defaults."""


class Registry(Generic[T]):
    """Names and aliases of one kind of part."""

    def __init__(self, kind: str, *, hydra_group: bool = True) -> None:
        """Make an empty registry.

        Args:
            kind: What its entries are; also the Hydra group's name.
            hydra_group: Whether each entry is a Hydra choice too.
        """
        self.kind = kind
        self._hydra_group = hydra_group
        self._entries: dict[str, Entry[T]] = {}
        self._aliases: dict[str, str] = {}

    def register(
        self, name: str, *, aliases: tuple[str, ...] = (), source: str = ""
    ) -> Callable[[Builder], Builder]:
        """Register the decorated class or function under `name`.

        Args:
            name: The field's standard term for it.
            aliases: Short names accepted everywhere in its place.
            source: Paper and equation, or code, that it follows.

        Raises:
            ValueError: A name or alias is taken.
            TypeError: The builder has no docstring, or a hyper-parameter lacks a type or default.
        """

        def add(builder: Builder) -> Builder:
            for label in (name, *aliases):
                if label in self._entries or label in self._aliases:
                    raise ValueError(f"{self.kind} '{label}' is registered already")
            doc = inspect.getdoc(builder)
            if not doc:
                raise TypeError(f"{self.kind} '{name}' needs a docstring: it is its description")
            node, options = _node(self.kind, name, builder)
            entry = Entry(name, builder, doc.splitlines()[0], source, tuple(aliases), node, options)
            self._entries[name] = entry
            self._aliases.update(dict.fromkeys(aliases, name))
            if self._hydra_group:
                for label in (name, *aliases):
                    ConfigStore.instance().store(
                        group=self.kind, name=label, node=node, provider="gan_bench"
                    )
            return builder

        return add

    def names(self) -> list[str]:
        """Return the registered names, sorted, without aliases."""
        return sorted(self._entries)

    def canonical(self, name: str) -> str:
        """Return the full name for a name or alias.

        Raises:
            ConfigError: Nothing is registered under it; the message names the nearest.
        """
        full = self._aliases.get(name, name)
        if full not in self._entries:
            raise unknown(self.kind, name, self._entries)
        return full

    def entry(self, name: str) -> Entry[T]:
        """Return the entry of a name or alias (ConfigError if there is none)."""
        return self._entries[self.canonical(name)]

    def describe(self, name: str) -> str:
        """Return a line that says what the entry is, where it comes from and its options."""
        entry = self.entry(name)
        options = ", ".join(f"{key}={value}" for key, value in entry.options.items())
        parts = [entry.description]
        if entry.source:
            parts.append(f"[{entry.source}]")
        if options:
            parts.append(f"({options})")
        return " ".join(parts)

    def build(self, name: str, **options: Any) -> T:
        """Build the entry; run-time inputs and hyper-parameters are given by keyword.

        Raises:
            ConfigError: The name or an option is unknown, or the builder refused a value.
        """
        entry = self.entry(name)
        known = inspect.signature(entry.builder).parameters
        for key in options:
            if key not in known:
                raise unknown(f"option of {self.kind} {entry.name}", key, known)
        return entry.builder(**options)

    def from_config(self, config: Mapping[str, Any], **runtime: Any) -> T:
        """Build from a mapping with `name` and options, as a run's config holds it."""
        options = {key: value for key, value in config.items() if key != "name"}
        return self.build(config["name"], **runtime, **options)

    def normalize(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Check a mapping with `name` and options; fill in defaults, convert types.

        Returns:
            The mapping with the full name and every hyper-parameter.

        Raises:
            ConfigError: The name or a field is unknown, or a value has the wrong type.
        """
        if "name" not in config:
            raise ConfigError(f"{self.kind} has no name; choose one of {', '.join(self.names())}")
        entry = self.entry(str(config["name"]))
        given = {str(key): value for key, value in config.items()}
        given["name"] = entry.name
        for key in given:
            if key != "name" and key not in entry.options:
                raise unknown(f"option of {self.kind} {entry.name}", key, entry.options)
        try:
            merged = OmegaConf.merge(OmegaConf.structured(entry.node), given)
        except OmegaConfBaseException as error:
            message = str(error).splitlines()[0]
            raise ConfigError(
                f"{self.kind} {entry.name}: {error.full_key or 'value'}: {message}"
            ) from None
        container = OmegaConf.to_container(merged)
        assert isinstance(container, dict)
        return {str(key): value for key, value in container.items()}


def _node(kind: str, name: str, builder: Callable[..., Any]) -> tuple[type, dict[str, Any]]:
    """Derive the Hydra node and the defaults from the keyword-only parameters of a builder."""
    function = builder.__init__ if inspect.isclass(builder) else builder
    options: dict[str, Any] = {}
    hints = typing.get_type_hints(function)
    fields: list[tuple[str, Any, Any]] = [("name", str, dataclasses.field(default=name))]
    for parameter in inspect.signature(builder).parameters.values():
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            continue
        if parameter.default is inspect.Parameter.empty or parameter.name not in hints:
            raise TypeError(
                f"{kind} '{name}': hyper-parameter '{parameter.name}' needs a type and a default"
            )
        default = options[parameter.name] = parameter.default
        field: Any = (
            dataclasses.field(default_factory=functools.partial(copy.copy, default))
            if isinstance(default, (list, dict))
            else dataclasses.field(default=default)
        )
        fields.append((parameter.name, hints[parameter.name], field))
    title = "".join(part.capitalize() for part in name.split("_")) + kind.capitalize()
    return dataclasses.make_dataclass(title, fields), options


def load_plugin_file(path: Path) -> ModuleType:
    """Import a Python file that registers entries; importing the same file again does nothing.

    Raises:
        ConfigError: The file is missing or can't be imported.
    """
    path = path.expanduser().resolve()
    name = f"gan_bench_plugin_{path.stem}_{abs(hash(str(path))):x}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ConfigError(f"plug-in {path} is no Python file; give the path of a .py file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ConfigError(
            f"plug-in {path} can't be imported: {type(error).__name__}: {error}"
        ) from error
    return module


def load_entry_points() -> None:
    """Import what installed packages offer under the entry-point group `gan_bench.plugins`."""
    for point in importlib.metadata.entry_points(group=PLUGIN_GROUP):
        try:
            point.load()
        except Exception as error:  # a broken third-party package must not break every command
            warnings.warn(
                f"plug-in '{point.name}' ({point.value}) can't be loaded and is left out: "
                f"{type(error).__name__}: {error}",
                stacklevel=2,
            )


LOSSES: Registry[Loss] = Registry("loss")
REGULARIZERS: Registry[Regularizer] = Registry("regularizer")
NORMALIZERS: Registry[Normalizer] = Registry("normalizer")
ARCHITECTURES: Registry[tuple[nn.Module, nn.Module]] = Registry("architecture")
DATASETS: Registry[Dataset] = Registry("dataset")
METRICS: Registry[Any] = Registry("metric", hydra_group=False)
ANALYSES: Registry[Any] = Registry("analysis", hydra_group=False)

REGISTRIES: dict[str, Registry[Any]] = {
    registry.kind: registry
    for registry in (
        LOSSES,
        REGULARIZERS,
        NORMALIZERS,
        ARCHITECTURES,
        DATASETS,
        METRICS,
        ANALYSES,
    )
}
