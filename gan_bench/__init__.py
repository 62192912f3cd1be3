"""gan_bench: which loss, regularizer, normalizer and architecture is really better?"""

__version__ = "0.1.0"
