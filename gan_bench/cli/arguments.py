"""Arguments of the command line: `name=value`, and flags."""

from __future__ import annotations

from collections.abc import Sequence

from gan_bench.errors import ConfigError, unknown


def fields(arguments: Sequence[str], *names: str) -> tuple[dict[str, str], list[str]]:
    """Split `name=value` arguments into a command's own fields and the overrides."""
    own: dict[str, str] = {}
    overrides = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if equals and name in names:
            own[name] = value
        elif equals or argument.startswith("~"):
            overrides.append(argument)
        else:
            raise ConfigError(f"'{argument}' is no override; write it as field=value")
    return own, overrides


def flags(arguments: Sequence[str], *known: str) -> tuple[set[str], list[str]]:
    """Split off the arguments that begin with a dash (ConfigError for an unknown one)."""
    given = {argument for argument in arguments if argument.startswith("-")}
    for flag in given:
        if flag not in known:
            raise unknown("flag", flag, known)
    return given, [argument for argument in arguments if argument not in given]


def boolean(name: str, value: str) -> bool:
    """Read true or false (ConfigError for anything else)."""
    if value.lower() not in ("true", "false"):
        raise ConfigError(f"{name} is '{value}'; use true or false")
    return value.lower() == "true"


def number(name: str, value: str) -> float:
    """Read a number (ConfigError for anything else)."""
    try:
        return float(value)
    except ValueError:
        raise ConfigError(f"{name} is '{value}'; use a number") from None
