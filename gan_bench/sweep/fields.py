"""Reads a record that a user wrote (an engine's options, a budget) as its dataclass."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gan_bench.errors import ConfigError, unknown

T = TypeVar("T")


def read_fields(kind: type[T], where: str, given: Mapping[str, Any]) -> T:
    """Return a mapping as a dataclass.

    Args:
        kind: A dataclass whose fields OmegaConf can check; its `__post_init__` may raise
            ConfigError for values out of range.
        where: What the fields belong to, for error lines ("engine", "budget").
        given: Field -> value.

    Raises:
        ConfigError: A field is unknown, or a value of the wrong type or out of range.
    """
    names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    for key in given:
        if key not in names:
            raise unknown(f"field of {where}", key, names)
    try:
        found = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(kind), dict(given)))
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"{where}.{getattr(error, 'full_key', '')}: {reason}") from None
    assert isinstance(found, kind)
    return found
