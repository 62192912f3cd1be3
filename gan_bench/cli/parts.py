"""`gan-bench list`: what there is to choose from."""

from __future__ import annotations

import json
from collections.abc import Sequence

from gan_bench import files, listing
from gan_bench.cli.arguments import flags
from gan_bench.errors import unknown
from gan_bench.registry import REGISTRIES


def list_parts(arguments: Sequence[str]) -> None:
    """Print the registered parts, all or those of some kinds."""
    given, wanted = flags(arguments, "--json", "--markdown")
    for kind in wanted:
        if kind not in REGISTRIES:
            raise unknown("kind of part", kind, REGISTRIES)
    chosen = [REGISTRIES[kind] for kind in wanted or REGISTRIES]
    if "--json" in given:
        print(json.dumps(files.plain(listing.as_data(chosen)), indent=2))
    elif "--markdown" in given:
        print(listing.as_markdown(chosen), end="")
    else:
        print(listing.as_text(chosen), end="")
