"""What may be concluded from finite samples: intervals, tests and budget curves.

Lower values are better throughout; an infinite one is a trial that diverged. Everything is
deterministic: random resampling starts from a fixed seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

Array = NDArray[np.float64]
Stratum = tuple[Array, Array]
"""Values of two methods under the same conditions."""

LEVEL = 0.95
_BOOTSTRAPS = 2000
_PERMUTATIONS = 9999
_AT_ONCE = 2_000_000
"""Numbers that are resampled at a time."""
_SMALL = 40
"""Up to so many values in all a test is by permutation, beyond by the normal approximation."""


def interquartile_mean(values: ArrayLike) -> float:
    """Return the mean of the middle half (rliable, arXiv 2108.13264, section 4.2).

    Args:
        values: (n,), n at least 1; infinite ones may be among them.
    """
    return float(_interquartile_means(np.asarray(values, dtype=float)))


def interquartile_interval(values: ArrayLike) -> tuple[float, float]:
    """Return the bootstrap interval of the interquartile mean; see `bootstrap_interval`."""
    return bootstrap_interval([values], lambda drawn: _interquartile_means(drawn[0]))


def _interquartile_means(values: Array) -> Array:
    means: Array = stats.trim_mean(values, 0.25, axis=-1)
    return means


def bootstrap_interval(
    groups: Sequence[ArrayLike],
    statistic: Callable[[list[Array]], Array],
    *,
    level: float = LEVEL,
    repetitions: int = _BOOTSTRAPS,
) -> tuple[float, float]:
    """Return the percentile interval of a statistic, each group resampled by itself.

    Args:
        groups: Samples that are strata (rliable's stratified bootstrap), each (n_i,), n_i >= 1.
        statistic: From resampled groups, each (r, n_i), to its values (r,).
        level: Of the interval.
        repetitions: How often the groups are resampled.

    Returns:
        Its ends.
    """
    rng = np.random.default_rng(0)
    arrays = [np.asarray(group, dtype=float) for group in groups]
    at_once = max(1, _AT_ONCE // sum(map(len, arrays)))
    found = []
    for start in range(0, repetitions, at_once):
        count = min(at_once, repetitions - start)
        drawn = [array[rng.integers(len(array), size=(count, len(array)))] for array in arrays]
        found.append(statistic(drawn))
    tail = (1 - level) / 2
    ends = np.quantile(np.concatenate(found), [tail, 1 - tail], method="inverted_cdf")
    return float(ends[0]), float(ends[1])


@dataclass(frozen=True)
class Improvement:
    """How probably one method is better than another."""

    probability: float
    """P(a value of the first is lower than one of the second), ties half: 0.5 is no difference."""
    low: float
    high: float
    p_value: float
    """Two-sided, of no difference in any stratum."""
    pairs: int
    """Values of the first and of the second, the smaller number of the two."""

    @property
    def delta(self) -> float:
        """Cliff's delta, the effect size: -1 (always worse) to 1 (always better)."""
        return 2 * self.probability - 1


def probability_of_improvement(strata: Sequence[Stratum]) -> float:
    """Return P(X < Y) + P(X = Y) / 2 within strata, averaged over them.

    Strata weigh n m / (n + m + 1), as in van Elteren's test; where all are of one size that is
    rliable's mean over tasks (arXiv 2108.13264, section 4.3).

    Args:
        strata: Values (n,) and (m,) of the two methods in each.
    """
    return float(_improvements([values for stratum in strata for values in stratum]))


def _improvements(groups: Sequence[Array]) -> Array:
    """Return the probabilities from alternating (..., n) and (..., m) arrays."""
    total, weights = np.zeros(groups[0].shape[:-1]), 0.0
    for x, y in zip(groups[::2], groups[1::2], strict=True):
        n, m = x.shape[-1], y.shape[-1]
        ranks = stats.rankdata(np.concatenate([x, y], axis=-1), axis=-1)[..., :n]
        worse = (ranks.sum(axis=-1) - n * (n + 1) / 2) / (n * m)  # P(X > Y), ties half
        weight = n * m / (n + m + 1)
        total, weights = total + weight * (1 - worse), weights + weight
    return np.asarray(total / weights)


def improvement(strata: Sequence[Stratum]) -> Improvement:
    """Compare two methods by the stratified rank-sum test of van Elteren (1960).

    The p-value is by permutation within strata for small samples, else by the normal
    approximation with ties; the interval is by the stratified bootstrap.

    Args:
        strata: Values of the two methods under the same conditions, each at least 1 long.
    """
    groups = [values for stratum in strata for values in stratum]
    total = sum(map(len, groups))
    repetitions = max(500, min(_BOOTSTRAPS, 400_000 // total))
    low, high = bootstrap_interval(groups, _improvements, repetitions=repetitions)
    p_value = _by_permutation(strata) if total <= _SMALL else _by_normal(strata)
    counts = min(sum(len(x) for x, _ in strata), sum(len(y) for _, y in strata))
    return Improvement(probability_of_improvement(strata), low, high, p_value, counts)


def _ranks(x: Array, y: Array) -> Array:
    ranks: Array = stats.rankdata(np.concatenate([x, y]))
    return ranks


def _by_permutation(strata: Sequence[Stratum]) -> float:
    rng = np.random.default_rng(0)
    seen, drawn = 0.0, np.zeros(_PERMUTATIONS)
    for x, y in strata:
        ranks, n = _ranks(x, y), len(x)
        weight, middle = 1 / (len(ranks) + 1), n * (len(ranks) + 1) / 2
        seen += weight * (ranks[:n].sum() - middle)
        shuffled = rng.permuted(np.tile(ranks, (_PERMUTATIONS, 1)), axis=1)
        drawn += weight * (shuffled[:, :n].sum(axis=1) - middle)
    extreme = np.count_nonzero(np.abs(drawn) >= abs(seen) - 1e-9)
    return float((extreme + 1) / (_PERMUTATIONS + 1))


def _by_normal(strata: Sequence[Stratum]) -> float:
    seen = variance = 0.0
    for x, y in strata:
        ranks, n, m = _ranks(x, y), len(x), len(y)
        total = n + m
        _, counts = np.unique(ranks, return_counts=True)
        ties = float((counts**3 - counts).sum()) / max(total * (total - 1), 1)
        seen += (ranks[:n].sum() - n * (total + 1) / 2) / (total + 1)
        variance += n * m / 12 * (total + 1 - ties) / (total + 1) ** 2
    return float(2 * special.ndtr(-abs(seen) / math.sqrt(variance))) if variance > 0 else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number (Holm 1979), in the same order."""
    order = np.argsort(p_values)
    adjusted, running = [0.0] * len(p_values), 0.0
    for place, i in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - place) * p_values[i]))
        adjusted[i] = running
    return adjusted


def expected_minimum(values: ArrayLike, k: int) -> float:
    """Return the expected minimum of k of the n values, drawn without replacement, exactly.

    The i-th smallest is the minimum of C(n - i, k - 1) of the C(n, k) subsets.

    Args:
        values: (n,).
        k: 1 to n.
    """
    ordered = np.sort(np.asarray(values, dtype=float))
    n = len(ordered)
    i = np.arange(1, n + 1)
    with np.errstate(divide="ignore"):
        shares = special.comb(n - i, k - 1) / special.comb(n, k)
    used = shares > 0
    return float((ordered[used] * shares[used]).sum())


@dataclass(frozen=True)
class BudgetCurve:
    """The best value so far against what has been spent."""

    spent: Array
    """(k,) Trials, or hours."""
    mean: Array
    """(k,); infinite where some repetition has nothing yet."""
    low: Array
    """(k,) 5% of the repetitions are below."""
    high: Array


def budget_curve(
    stages: Sequence[tuple[ArrayLike, ArrayLike]], *, hours: bool = False, repetitions: int = 1000
) -> BudgetCurve:
    """Draw trials in random order, one stage after the other, and follow the best so far.

    As *The GAN Landscape* does: the literature's settings first, then explored ones, 1000 times.

    Args:
        stages: For each, the values (n_i,), infinite where a trial diverged, and the hours (n_i,).
        hours: Whether the horizontal axis is hours rather than trials.
        repetitions: Number of orders.

    Returns:
        The mean of the best over the repetitions and a band of 90% of them.
    """
    rng = np.random.default_rng(0)
    columns = []
    for values, costs in stages:
        both = np.stack([np.asarray(values, dtype=float), np.asarray(costs, dtype=float)])
        order = np.argsort(rng.random((repetitions, both.shape[1])), axis=1)
        columns.append(both[:, order])
    values, costs = np.concatenate(columns, axis=2)
    best = np.minimum.accumulate(values, axis=1)
    if not hours:
        spent = np.arange(1, best.shape[1] + 1, dtype=float)
    else:
        used = np.cumsum(costs, axis=1)
        spent = np.linspace(0, used[:, -1].max(), 200)[1:]
        places = np.array([np.searchsorted(row, spent, side="right") for row in used])
        padded = np.concatenate([np.full((repetitions, 1), np.inf), best], axis=1)
        best = np.take_along_axis(padded, places, axis=1)
    low, high = np.quantile(best, [0.05, 0.95], axis=0, method="inverted_cdf")
    return BudgetCurve(spent, best.mean(axis=0), low, high)


def nemenyi_difference(methods: int, datasets: int, level: float = LEVEL) -> float:
    """Return the critical difference of average ranks (Demsar 2006, section 3.2.2).

    Args:
        methods: Number of methods compared, at least 2.
        datasets: Number of data sets they were ranked on.
        level: 1 - alpha.
    """
    q = stats.studentized_range.ppf(level, methods, np.inf) / math.sqrt(2)
    return float(q * math.sqrt(methods * (methods + 1) / (6 * datasets)))
