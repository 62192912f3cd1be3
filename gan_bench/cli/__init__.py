"""The command line."""

from gan_bench.cli.main import USAGE, VERBS, main

__all__ = ["USAGE", "VERBS", "main"]
