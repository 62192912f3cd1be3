"""Metrics of features beside torch-fidelity and prdc: `python -m benchmarks.feature_metrics`."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from prdc import compute_prdc
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

from benchmarks.timing import Comparison, compare
from gan_bench.evaluation.metrics.base import Metric
from gan_bench.evaluation.metrics.density_coverage import DensityCoverage
from gan_bench.evaluation.metrics.kid import KernelDistance, KernelDistanceAllPairs
from gan_bench.evaluation.metrics.precision_recall import PrecisionRecall
from gan_bench.evaluation.statistics import Array, FeatureStatistics


def features(n: int, dim: int, seed: int) -> Array:
    """Return non-negative float32 features, as pooled activations are."""
    draws = np.random.default_rng(seed)
    return np.maximum(draws.normal(0.2 + 0.02 * seed, 1.0, (n, dim)), 0).astype(np.float32)


def both_sides(n: int, dim: int) -> list[FeatureStatistics]:
    """Return n features of each side."""
    return [FeatureStatistics(n=n, features=features(n, dim, seed)) for seed in (0, 1)]


def measure() -> Iterator[Comparison]:
    """Compare at a classifier's and at Inception's number of features."""
    yield from kernel_distances(10_000, 64)
    yield from neighbourhoods(10_000, 64)
    yield from kernel_distances(10_000, 2048)
    yield from neighbourhoods(5_000, 2048)


def kernel_distances(n: int, dim: int) -> Iterator[Comparison]:
    """Compare KID with n features a side."""
    sides = both_sides(n, dim)

    def ours(metric: Metric) -> None:
        metric(*sides, np.random.default_rng(0))

    def theirs() -> None:
        tensors = [torch.from_numpy(side.features) for side in sides]
        kid_features_to_metric(*tensors, kid_subsets=100, kid_subset_size=1000, verbose=False)

    for what, metric in (
        (f"KID, 100 subsets of 1000, d={dim}, N={n}", KernelDistance()),
        (f"KID from all pairs, d={dim}, N={n}, against its subsets", KernelDistanceAllPairs()),
    ):
        yield compare(what, partial(ours, metric), "torch-fidelity", theirs, repeats=1)


def neighbourhoods(n: int, dim: int) -> Iterator[Comparison]:
    """Compare what k nearest neighbours give with n features a side."""
    sides = both_sides(n, dim)

    def ours(*metrics: Metric) -> None:
        for metric in metrics:
            metric(*sides, np.random.default_rng(0))

    def prc() -> None:
        tensors = [torch.from_numpy(side.features) for side in sides]
        prc_features_to_metric(*tensors, verbose=False)

    def prdc() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            compute_prdc(*(side.features for side in sides), 5)

    size = f"d={dim}, N={n}"
    yield compare(
        f"precision, recall, {size}",
        partial(ours, PrecisionRecall()),
        "torch-fidelity",
        prc,
        repeats=1,
    )
    yield compare(
        f"precision, recall, density, coverage, {size}",
        partial(ours, PrecisionRecall(k=5), DensityCoverage()),
        "prdc",
        prdc,
        repeats=1,
    )


if __name__ == "__main__":
    for line in measure():
        print(line, flush=True)
