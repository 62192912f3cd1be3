"""What a trial trained, by the names that published tables use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PARTS = ("dataset", "architecture", "loss", "normalizer", "regularizer")
FIELDS = {
    "lambda": ("regularizer", "weight"),
    "width": ("architecture", "width"),
    "learning_rate": ("optimizer", "lr"),
    "beta1": ("optimizer", "beta1"),
    "beta2": ("optimizer", "beta2"),
    "n_disc": ("training", "n_disc"),
}


def method_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return dataset, architecture, loss, normalizer, regularizer and hyper-parameters of a config.

    Args:
        config: As a result holds it; parts are mappings with a name, or names.
    """
    found: dict[str, Any] = {}
    for part in PARTS:
        given = config.get(part)
        name = given.get("name") if isinstance(given, Mapping) else given
        if name is not None:
            found[part] = name
    for field, (group, name) in FIELDS.items():
        given = config.get(group)
        value = given.get(name) if isinstance(given, Mapping) else None
        if value is not None:
            found[field] = value
    return found
