"""What a search may vary: ranges in Hydra's own syntax, and settings drawn from them.

A setting is a mapping of override keys ("optimizer.lr") to plain Python values. It is canonical:
keys sorted and floats rounded to 8 significant digits, so that its digest, the command line and
the journal all speak of the same number.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping
from itertools import islice, product
from typing import Any

import numpy as np
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    IntervalSweep,
    Quote,
    QuotedString,
    RangeSweep,
)
from hydra.errors import HydraException

from gan_bench.errors import ConfigError, require, unknown

Settings = dict[str, Any]

_DIGITS = 8
_BARE = re.compile(r"[A-Za-z_][\w./-]*")
_WORDS_WITH_A_MEANING = ("null", "true", "false", "inf", "nan")
_HINT = "write interval(a, b), tag(log, interval(a, b)), int(interval(a, b)), choice(a, b) or range"


@dataclasses.dataclass(frozen=True)
class Interval:
    """All numbers from `low` to `high`, both included."""

    low: float
    high: float
    log: bool = False
    integer: bool = False

    def __contains__(self, value: object) -> bool:
        """Whether the value lies in the interval, up to the rounding of canonical settings."""
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        if self.integer and value != round(value):
            return False
        slack = 0.0 if self.integer else 10.0**-_DIGITS * max(abs(self.low), abs(self.high))
        return self.low - slack <= value <= self.high + slack

    @property
    def size(self) -> int | None:
        """How many values it has; None: as good as infinitely many."""
        return int(self.high) - int(self.low) + 1 if self.integer else None

    def at(self, position: float) -> float:
        """Return the value at a position in [0, 1], on the log scale where there is one."""
        if self.integer:  # each integer owns an equal share of its scale
            low, high = self.low - 0.5, self.high + 0.5
            value = round(_between(low, high, position, self.log))
            return int(min(max(value, self.low), self.high))
        return _between(self.low, self.high, position, self.log)

    def position(self, value: float) -> float:
        """Return the position of a value in [0, 1]: the inverse of `at`, for integers a middle."""
        low, high = (self.low - 0.5, self.high + 0.5) if self.integer else (self.low, self.high)
        if self.log:
            value, low, high = math.log(value), math.log(low), math.log(high)
        return min(max((value - low) / (high - low), 0.0), 1.0)

    def values(self) -> list[Any]:
        """List the values of an integer interval."""
        return list(range(int(self.low), int(self.high) + 1))


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of a few values, of any plain type."""

    options: tuple[Any, ...]

    def __contains__(self, value: object) -> bool:
        """Whether the value is one of the options."""
        return any(_same(value, option) for option in self.options)

    @property
    def size(self) -> int:
        """How many options there are."""
        return len(self.options)

    def at(self, position: float) -> Any:
        """Return the option at a position in [0, 1]."""
        return self.options[min(int(position * len(self.options)), len(self.options) - 1)]

    def values(self) -> list[Any]:
        """List the options."""
        return list(self.options)

    def index(self, value: object) -> int:
        """Return the position of a value among the options."""
        return next(i for i, option in enumerate(self.options) if _same(value, option))


Dimension = Interval | Choice


class Space:
    """The product of the dimensions of some override keys."""

    def __init__(self, dimensions: Mapping[str, Dimension] | None = None) -> None:
        """Keep the dimensions, sorted by key.

        Args:
            dimensions: Override key -> dimension.
        """
        self.dimensions = dict(sorted((dimensions or {}).items()))

    @classmethod
    def parse(cls, expressions: Mapping[str, Any]) -> Space:
        """Read a space as study files and command lines write it.

        Args:
            expressions: Override key -> Hydra sweep ("tag(log, interval(1e-5, 1e-2))"), or a list
                of options.

        Raises:
            ConfigError: A range is malformed, empty, or has no logarithm.
        """
        return cls({key: parse_dimension(key, text) for key, text in expressions.items()})

    @property
    def size(self) -> int | None:
        """How many settings there are; None: as good as infinitely many."""
        sizes = [dimension.size for dimension in self.dimensions.values()]
        return None if None in sizes else math.prod(size for size in sizes if size is not None)

    def __contains__(self, settings: object) -> bool:
        """Whether the settings have exactly this space's keys and lie in its ranges."""
        return (
            isinstance(settings, Mapping)
            and settings.keys() == self.dimensions.keys()
            and all(settings[key] in dimension for key, dimension in self.dimensions.items())
        )

    def conform(self, settings: Mapping[str, Any]) -> Settings:
        """Return canonical settings in which a 0 on a continuous range is 0.0, the same setting."""
        conformed = canonical(settings)
        for key, dimension in self.dimensions.items():
            if isinstance(dimension, Interval) and type(conformed.get(key)) is int:
                conformed[key] = conformed[key] if dimension.integer else float(conformed[key])
        return conformed

    def at(self, position: Mapping[str, float] | float) -> Settings:
        """Return the settings at a position in the unit cube (one number: the same for each)."""
        return canonical(
            {
                key: dimension.at(position if isinstance(position, float) else position[key])
                for key, dimension in self.dimensions.items()
            }
        )

    def sample(self, rng: np.random.Generator) -> Settings:
        """Draw settings uniformly, on the log scale where a dimension has one."""
        return self.at({key: float(rng.random()) for key in self.dimensions})

    def enumerate(self, limit: int) -> Iterator[Settings]:
        """Yield the settings of a finite space, at most `limit` of them."""
        grids = product(*(dimension.values() for dimension in self.dimensions.values()))
        for values in islice(grids, limit):
            yield canonical(dict(zip(self.dimensions, values, strict=True)))

    def to_dict(self) -> dict[str, Any]:
        """Return the space as `parse` reads it."""
        return {key: _expression(dimension) for key, dimension in self.dimensions.items()}

    def __eq__(self, other: object) -> bool:
        """Whether both have the same dimensions."""
        return isinstance(other, Space) and self.dimensions == other.dimensions


def parse_dimension(key: str, text: Any) -> Dimension:
    """Read one dimension in Hydra's sweep syntax.

    Raises:
        ConfigError: It is malformed, empty, no range, or has no logarithm.
    """
    if isinstance(text, (list, tuple)):
        return _choice(key, list(text))
    try:
        override = OverridesParser.create().parse_override(f"{key}={text}")
    except HydraException as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"space {key}: '{text}' can't be read: {reason}; {_HINT}") from None
    value = override.value()
    tags: set[str] = getattr(value, "tags", set())
    for tag in tags:
        if tag != "log":
            raise unknown(f"tag of space {key}", tag, ["log"])
    if isinstance(value, IntervalSweep):
        assert value.start is not None and value.end is not None
        integer = isinstance(value.start, int) and isinstance(value.end, int)
        return _interval(key, value.start, value.end, "log" in tags, integer)
    require(
        override.is_discrete_sweep() and hasattr(value, "tags"),
        f"space {key}: '{text}' is not a range; {_HINT}",
    )
    require(not tags, f"space {key}: '{text}': only an interval can be tagged log")
    if isinstance(value, RangeSweep) and value.step == 1 and type(value.start) is int:
        assert value.stop is not None
        if type(value.stop) is int and value.stop - value.start > 1:
            return _interval(key, value.start, value.stop - 1, False, True)
    try:
        return _choice(key, list(override.sweep_iterator(transformer=_unquoted)))
    except HydraException as error:
        raise ConfigError(f"space {key}: '{text}': {str(error).splitlines()[0]}") from None


def _interval(key: str, low: float, high: float, log: bool, integer: bool) -> Interval:
    text = f"space {key}: interval({low}, {high})"
    require(math.isfinite(low) and math.isfinite(high), f"{text}: the ends must be finite")
    require(low < high, f"{text}: the first end must lie below the second")
    require(not log or low > 0, f"{text}: a log scale needs ends above 0")
    return Interval(low, high, log, integer)


def _choice(key: str, options: list[Any]) -> Choice:
    require(bool(options), f"space {key}: there is nothing to choose from")
    kept: list[Any] = []
    for option in map(canonical_value, options):
        if not any(_same(option, other) for other in kept):
            kept.append(option)
    return Choice(tuple(kept))


def canonical_value(value: Any) -> Any:
    """Return a value as plain Python, floats rounded to 8 significant digits."""
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):
        value = value.item()
    if isinstance(value, float) and math.isfinite(value):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, (list, tuple)):
        return [canonical_value(item) for item in value]
    return value


def canonical(settings: Mapping[str, Any]) -> Settings:
    """Return settings with sorted keys and canonical values."""
    return {str(key): canonical_value(value) for key, value in sorted(settings.items())}


def render(key: str, value: Any) -> str:
    """Write a setting as a Hydra override that reads back as the same value and type."""
    return f"{key}={_text(value)}"


def to_overrides(settings: Settings) -> list[str]:
    """Write settings as Hydra overrides; choices of groups come before fields of the groups."""
    keys = sorted(settings, key=lambda key: ("." in key, key))
    return [render(key, settings[key]) for key in keys]


def _text(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(_text, value))}]"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_text(item)}" for key, item in value.items()) + "}"
    text = str(value)
    if _BARE.fullmatch(text) and text.lower() not in _WORDS_WITH_A_MEANING:
        return text
    return str(QuotedString(text, Quote.single).with_quotes())


def _expression(dimension: Dimension) -> Any:
    if isinstance(dimension, Choice):
        return list(dimension.options)  # Hydra's choice() takes no null
    text = f"interval({dimension.low!r}, {dimension.high!r})"
    text = f"int({text})" if dimension.integer else text
    return f"tag(log, {text})" if dimension.log else text


def _between(low: float, high: float, position: float, log: bool) -> float:
    if log:
        low, high = math.log(low), math.log(high)
    value = low + (high - low) * position
    return math.exp(value) if log else value


def _same(a: object, b: object) -> bool:
    """Equality that tells True from 1 but not 1 from 1.0."""
    return a == b and isinstance(a, bool) == isinstance(b, bool)


def _unquoted(value: Any) -> Any:
    if isinstance(value, list):
        return [_unquoted(item) for item in value]
    return value.text if isinstance(value, QuotedString) else value
