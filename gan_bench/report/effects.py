"""Which factor matters: the share of the variance that each explains (fANOVA, by optuna)."""

from __future__ import annotations

import math
import warnings
from typing import Any

from gan_bench.report.aggregate import Part
from gan_bench.report.drawing import spans

LEAST_TRIALS = 20
MOST_TRIALS = 200
"""Of more, evenly spaced ones are taken: the forest's time grows faster than their number."""


def factor_effects(part: Part) -> dict[str, float] | None:
    """Return factor -> share of the variance of the (log) objective, the largest first.

    Factors are the axes of the cells and the settings that all trials have. A random forest is
    fitted and its variance decomposed (Hutter et al. 2014); shares are of the main effects, and
    sum to 1. A trial that diverged counts as the worst.

    Returns:
        None with fewer than 20 trials or two factors, or without optuna.
    """
    try:
        import optuna
    except ImportError:
        return None
    trials = [trial for trial in part.trials if trial.judged]
    trials = trials[:: -(-len(trials) // MOST_TRIALS) or 1]
    costs = [trial.cost(part.objective) for trial in trials]
    finite = [cost for cost in costs if math.isfinite(cost)]
    if len(trials) < LEAST_TRIALS or len(set(finite)) < 2:
        return None
    worst, scale = max(finite), math.log if min(finite) > 0 else float
    rows: list[dict[str, Any]] = [{**trial.axes, **trial.settings} for trial in trials]
    shared = sorted(set.intersection(*(set(row) for row in rows)))
    distributions = {name: found for name in shared if (found := _distribution(rows, name))}
    if len(distributions) < 2:
        return None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for row, cost in zip(rows, costs, strict=True):
            params = {name: _plain(row[name]) for name in distributions}
            value = scale(cost if math.isfinite(cost) else worst)
            study.add_trial(
                optuna.trial.create_trial(params=params, distributions=distributions, value=value)
            )
        evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=32, seed=0)
        found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return dict(found)


def _plain(value: Any) -> Any:
    return value if isinstance(value, (int, float, str, bool)) else str(value)


def _distribution(rows: list[dict[str, Any]], name: str) -> Any:
    """Return optuna's distribution of a factor; None for one that does not vary."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    values = [_plain(row[name]) for row in rows]
    distinct = list(dict.fromkeys(values))
    if len(distinct) < 2:
        return None
    number = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in distinct)
    if not number or len(distinct) <= 3:
        return CategoricalDistribution(distinct)
    low, high = min(distinct), max(distinct)
    return FloatDistribution(float(low), float(high), log=spans(distinct, 20))
