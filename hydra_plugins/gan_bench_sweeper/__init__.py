"""Hydra finds sweepers only in packages of this namespace; all it does is in gan_bench.sweep."""
