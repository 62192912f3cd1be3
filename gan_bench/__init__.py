"""gan_bench: which loss, regularizer, normalizer and architecture is really better?"""

from gan_bench import analyses, architectures, data, losses, normalizers, regularizers
from gan_bench.evaluation import metrics
from gan_bench.registry import load_entry_points

__version__ = "0.1.0"
__all__ = ["analyses", "architectures", "data", "losses", "metrics", "normalizers", "regularizers"]

load_entry_points()
