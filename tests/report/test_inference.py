"""Each statistic against a second library, a closed form, or its promise on simulated data."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from gan_bench.report import inference


def test_interquartile_mean_is_rliables() -> None:
    metrics = pytest.importorskip("rliable.metrics", reason="rliable is not installed")
    scores = np.random.default_rng(0).lognormal(3, 1, (7, 4))
    assert inference.interquartile_mean(scores.ravel()) == pytest.approx(
        metrics.aggregate_iqm(scores), rel=1e-12
    )


def test_the_stratified_bootstrap_is_scipys() -> None:
    groups = list(np.random.default_rng(1).normal(size=(5, 12)))

    def pooled(*drawn: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.asarray(stats.trim_mean(np.concatenate(drawn, axis=-1), 0.25, axis=-1))

    theirs = stats.bootstrap(
        groups, pooled, n_resamples=20_000, method="percentile", vectorized=True, rng=0
    ).confidence_interval
    ours = inference.bootstrap_interval(groups, lambda drawn: pooled(*drawn), repetitions=20_000)
    assert ours == pytest.approx(tuple(theirs), abs=0.03 * (theirs.high - theirs.low))


def test_the_probability_of_improvement_is_rliables() -> None:
    metrics = pytest.importorskip("rliable.metrics", reason="rliable is not installed")
    rng = np.random.default_rng(2)
    x, y = rng.integers(0, 9, (6, 4)), rng.integers(2, 12, (8, 4))  # with ties
    strata = [(x[:, i].astype(float), y[:, i].astype(float)) for i in range(4)]
    ours = inference.probability_of_improvement(strata)
    assert ours == pytest.approx(metrics.probability_of_improvement(-x, -y), abs=1e-12)


@pytest.mark.parametrize("shift", [0.0, 0.5, 1.5])
def test_one_stratum_is_the_rank_sum_test_of_scipy(shift: float) -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=30).round(1), rng.normal(shift, size=40).round(1)
    found = inference.improvement([(x, y)])
    expected = stats.mannwhitneyu(x, y, method="asymptotic", use_continuity=False)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.probability == pytest.approx(1 - expected.statistic / (30 * 40))
    assert found.low <= found.probability <= found.high
    assert found.delta == pytest.approx(2 * found.probability - 1)


def test_small_samples_are_tested_exactly() -> None:
    x, y = np.array([1.0, 2.0, 4.0, 3.5]), np.array([3.0, 5.0, 6.0, 7.0, np.inf])
    exact = stats.mannwhitneyu(x, y, method="exact").pvalue
    assert inference.improvement([(x, y)]).p_value == pytest.approx(exact, abs=0.01)


def test_two_strata_against_all_permutations_of_both() -> None:
    strata = [
        (np.array([1.0, 2.0, 2.5]), np.array([3.0, 1.5])),
        (np.array([10.0, 30.0]), np.array([20.0, 40.0, 50.0])),
    ]
    tables = []
    for x, y in strata:
        ranks, n = stats.rankdata(np.concatenate([x, y])), len(x)
        middle = n * (len(ranks) + 1) / 2
        chosen = itertools.combinations(range(len(ranks)), n)
        sums = [(ranks[list(c)].sum() - middle) / (len(ranks) + 1) for c in chosen]
        tables.append((np.array(sums), (ranks[:n].sum() - middle) / (len(ranks) + 1)))
    every = np.add.outer(tables[0][0], tables[1][0])
    seen = tables[0][1] + tables[1][1]
    exact = np.mean(np.abs(every) >= abs(seen) - 1e-9)
    assert inference.improvement(strata).p_value == pytest.approx(exact, abs=0.015)


def test_the_test_keeps_its_level_and_finds_a_shift() -> None:
    rng = np.random.default_rng(4)

    def p_value(shift: float) -> float:
        means = rng.normal(0, 5, 12)  # settings differ far more than methods do
        strata = [(rng.normal(m, 1, 3), rng.normal(m + shift, 1, 3)) for m in means]
        return inference._by_normal(strata)

    null = np.mean([p_value(0.0) < 0.05 for _ in range(1000)])
    assert 0.03 < null < 0.07
    assert np.mean([p_value(1.0) < 0.05 for _ in range(200)]) > 0.9


def test_holms_correction_is_statsmodels() -> None:
    p_values = [0.01, 0.04, 0.03, 0.005, 0.5]
    assert inference.holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


@pytest.mark.parametrize("n", [40, 80])
def test_intervals_cover_what_they_promise(n: int) -> None:
    """The interquartile mean of a log-normal cell, 400 simulated studies."""
    rng = np.random.default_rng(5)
    grid = stats.lognorm(0.5, scale=30).ppf(np.linspace(0.25, 0.75, 100_001))
    truth, hits = float(grid.mean()), 0
    for _ in range(400):
        low, high = inference.interquartile_interval(rng.lognormal(np.log(30), 0.5, n))
        hits += low <= truth <= high
    assert 0.91 <= hits / 400 <= 0.985


def test_the_expected_minimum_is_that_of_all_subsets() -> None:
    values = [5.0, 1.0, 8.0, 3.0, 3.0, 9.0]
    for k in range(1, 7):
        every = [min(chosen) for chosen in itertools.combinations(values, k)]
        assert inference.expected_minimum(values, k) == pytest.approx(np.mean(every), rel=1e-12)


def test_budget_curves_are_the_exact_order_statistics() -> None:
    rng = np.random.default_rng(6)
    literature, explored = rng.lognormal(3.5, 0.5, 8), rng.lognormal(3, 0.5, 20)
    curve = inference.budget_curve(
        [(literature, np.ones(8)), (explored, np.ones(20))], repetitions=4000
    )
    assert list(curve.spent) == list(range(1, 29))
    for k in range(1, 9):
        assert curve.mean[k - 1] == pytest.approx(
            inference.expected_minimum(literature, k), rel=0.02
        )
    # after all 8: the expectation of min(best of the literature, best of k explored)
    capped = np.minimum(explored, literature.min())
    for k in (1, 5, 20):
        exact = inference.expected_minimum(capped, k)
        assert curve.mean[7 + k] == pytest.approx(exact, rel=0.02)
    assert np.all(curve.low <= curve.high) and curve.high[0] > curve.mean[0] > curve.low[0]
    assert curve.mean[-1] == pytest.approx(min(literature.min(), explored.min()))


def test_hours_and_trials_agree_where_every_trial_takes_an_hour() -> None:
    values = np.random.default_rng(7).lognormal(3, 0.5, 10)
    by_trials = inference.budget_curve([(values, np.ones(10))])
    by_hours = inference.budget_curve([(values, np.ones(10))], hours=True)
    for k in (1, 4, 9):
        place = np.searchsorted(by_hours.spent, k + 0.5)
        assert by_hours.mean[place] == pytest.approx(by_trials.mean[k - 1], rel=0.03)
    assert np.isinf(by_hours.mean[0])


def test_a_diverged_trial_costs_a_trial_and_gives_nothing() -> None:
    curve = inference.budget_curve([(np.array([np.inf, 5.0]), np.ones(2))])
    assert np.isinf(curve.mean[0]) and curve.mean[1] == 5.0


@pytest.mark.parametrize(("k", "n", "cd"), [(4, 14, 1.25), (10, 30, 2.47)])
def test_the_critical_difference_is_demsars(k: int, n: int, cd: float) -> None:
    """(4, 14) is the example of Demsar 2006: 2.569 sqrt(4 * 5 / (6 * 14)) = 1.25."""
    assert inference.nemenyi_difference(k, n) == pytest.approx(cd, abs=0.01)
