"""Metrics of features beside torch-fidelity and prdc: `python -m benchmarks.feature_metrics`."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator

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


def measure() -> Iterator[Comparison]:
    """Compare at a classifier's and at Inception's number of features."""
    for dim, n in ((64, 10_000), (2048, 10_000)):
        x, y = features(n, dim, 0), features(n, dim, 1)
        sides = [FeatureStatistics(n=n, features=each) for each in (x, y)]
        tensors = [torch.from_numpy(each) for each in (x, y)]

        def ours(metric: Metric, sides: list[FeatureStatistics] = sides) -> None:
            metric(*sides, np.random.default_rng(0))

        def kid(tensors: list[torch.Tensor] = tensors) -> None:
            kid_features_to_metric(*tensors, kid_subsets=100, kid_subset_size=1000, verbose=False)

        def prc(tensors: list[torch.Tensor] = tensors) -> None:
            prc_features_to_metric(*tensors, verbose=False)

        def prdc(x: Array = x, y: Array = y) -> None:
            with contextlib.redirect_stdout(io.StringIO()):
                compute_prdc(x, y, 5)

        def all_four() -> None:
            ours(PrecisionRecall(k=5))
            ours(DensityCoverage())

        size = f"d={dim}, N={n}"
        yield compare(
            f"KID, 100 subsets of 1000, {size}",
            lambda: ours(KernelDistance()),
            "torch-fidelity",
            kid,
            repeats=1,
        )
        yield compare(
            f"KID from all pairs, {size}, against its subsets",
            lambda: ours(KernelDistanceAllPairs()),
            "torch-fidelity",
            kid,
            repeats=1,
        )
        yield compare(
            f"precision, recall, {size}",
            lambda: ours(PrecisionRecall()),
            "torch-fidelity",
            prc,
            repeats=1,
        )
        yield compare(
            f"precision, recall, density, coverage, {size}", all_four, "prdc", prdc, repeats=1
        )


if __name__ == "__main__":
    for line in measure():
        print(line)
