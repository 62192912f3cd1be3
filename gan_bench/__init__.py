"""gan_bench: which loss, regularizer, normalizer and architecture is really better?"""

from gan_bench import losses, regularizers
from gan_bench.registry import load_entry_points

__version__ = "0.1.0"
__all__ = ["losses", "regularizers"]

load_entry_points()
