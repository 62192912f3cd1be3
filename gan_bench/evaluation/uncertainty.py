"""How far a figure can be trusted: its spread over repeated sample sets, and paired differences.

The interval is the bootstrap's, over the sets: percentiles of the mean of sets drawn with
replacement (Efron 1979; as Agarwal et al. 2021, arXiv 2108.13264, recommend for benchmarks). With
fewer than about 10 sets it is too narrow; it says nothing of the training seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from gan_bench.errors import ConfigError

CONFIDENCE = 0.95
_RESAMPLES = 9_999


def interval(values: Sequence[float]) -> dict[str, Any]:
    """Return mean, std (sample deviation), low, high (95% bootstrap interval) and the values.

    Args:
        values: One a set, 2 or more.
    """
    sample = np.asarray(values, dtype=np.float64)
    low = high = float(sample[0])
    if np.ptp(sample) > 0:
        found = stats.bootstrap(
            (sample,),
            np.mean,
            n_resamples=_RESAMPLES,
            confidence_level=CONFIDENCE,
            method="percentile",
            rng=np.random.default_rng(0),
        ).confidence_interval
        low, high = float(found.low), float(found.high)
    return {
        "mean": float(sample.mean()),
        "std": float(sample.std(ddof=1)),
        "low": low,
        "high": high,
        "values": [float(value) for value in sample],
    }


def summarize(results: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> dict[str, Any]:
    """Merge the results of sample sets: a figure is its mean, `uncertainty` tells the rest.

    Args:
        results: Of 2 sets or more, under one protocol.
        keys: Which of their keys are figures.

    Returns:
        The first result with the means of the figures, `sets`, `uncertainty` (an `interval` by
        key), and the protocol with the number of sets.
    """
    found = {key: interval([result[key] for result in results]) for key in keys}
    merged = dict(results[0])
    merged |= {key: each["mean"] for key, each in found.items()}
    merged["sets"] = len(results)
    merged["protocol"] = f"{merged['protocol']};sets={len(results)}"
    return {**merged, "uncertainty": found}


def paired_difference(
    first: Mapping[str, Any], second: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return first minus second for each figure, as an `interval` over paired sample sets.

    Args:
        first: A result of several sets, see `summarize`.
        second: One under the same protocol, its sets drawn with the same seeds.

    Raises:
        ConfigError: The protocols or reference images differ, or there is one set only.
    """
    for key in ("protocol", "seed", "reference_digest"):
        if first.get(key) != second.get(key):
            raise ConfigError(
                f"the results can't be compared: their {key} differs ({first.get(key)} and "
                f"{second.get(key)}); evaluate both under one"
            )
    if "uncertainty" not in first or "uncertainty" not in second:
        raise ConfigError("a paired difference needs 2 sample sets or more; set evaluator.sets=10")
    return {
        key: interval(np.subtract(ours["values"], second["uncertainty"][key]["values"]).tolist())
        for key, ours in first["uncertainty"].items()
    }
