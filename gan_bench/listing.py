"""The registered parts as text, data and a Markdown page."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gan_bench.registry import Registry

_INTRODUCTION = """\
# Parts

Written by `gan-bench list --markdown` from the code. Short names in brackets are accepted
everywhere in place of the full ones. Options are set as `loss=wasserstein loss.drift=0.001`.
"""


def as_data(registries: Iterable[Registry[Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return kind -> name -> description, source, aliases and options with their defaults."""
    return {
        registry.kind: {
            entry.name: {
                "description": entry.description,
                "source": entry.source,
                "aliases": list(entry.aliases),
                "options": entry.options,
            }
            for entry in map(registry.entry, registry.names())
        }
        for registry in registries
    }


def as_text(registries: Iterable[Registry[Any]]) -> str:
    """Return the listing for a terminal."""
    lines = []
    for registry in registries:
        if registry.names():
            lines.append(f"{registry.kind}:")
        for name in registry.names():
            aliases = ", ".join(registry.entry(name).aliases)
            label = f"{name} ({aliases})" if aliases else name
            lines.append(f"  {label:<28} {registry.describe(name)}")
    return "".join(f"{line}\n" for line in lines)


def as_markdown(registries: Iterable[Registry[Any]]) -> str:
    """Return the listing as a page with a table for each kind."""
    lines = [_INTRODUCTION]
    for registry in registries:
        if not registry.names():
            continue
        lines += [
            f"## {registry.kind}\n",
            "| name | what it is | options | source |",
            "|---|---|---|---|",
        ]
        for entry in map(registry.entry, registry.names()):
            aliases = f" ({', '.join(entry.aliases)})" if entry.aliases else ""
            options = ", ".join(f"`{key}={value}`" for key, value in entry.options.items())
            cells = (f"`{entry.name}`{aliases}", entry.description, options, entry.source)
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        lines.append("")
    return "\n".join(lines)
