"""The bandit: better than random search, deterministic, robust to failures."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm, qmc
from skopt.benchmarks import branin

from gan_bench import files
from gan_bench.errors import ConfigError
from gan_bench.sweep.gaussian_process import (
    GaussianProcessSuggester,
    _chosen,
    _log_improvement,
    acquisition,
)
from gan_bench.sweep.space import Settings, Space
from gan_bench.sweep.suggest import (
    RandomSuggester,
    SobolSuggester,
    Suggester,
    build_suggester,
    suggest,
)

PLANE = Space.parse({"x": "interval(-5, 10)", "y": "interval(0, 15)"})
MIXED = Space.parse({"x": "interval(-5, 10)", "y": "interval(0, 15)", "k": "choice(a, b, c)"})


def plane_value(settings: Settings) -> float:
    return float(branin([settings["x"], settings["y"]]))


def mixed_value(settings: Settings) -> float:
    return plane_value(settings) + {"a": 5.0, "b": 0.0, "c": 20.0}[settings["k"]]


def search(suggester: Suggester, value: Callable[[Settings], float], budget: int) -> list[float]:
    values = []
    for _ in range(budget):
        settings = suggester.ask()
        assert settings is not None
        values.append(value(settings))
        suggester.tell(settings, values[-1])
    return values


@pytest.mark.parametrize(
    ("space", "value", "budget"),
    [(PLANE, plane_value, 16), (MIXED, mixed_value, 18)],
    ids=["plane", "mixed"],
)
def test_the_bandit_beats_random_search_with_the_same_budget(
    space: Space, value: Callable[[Settings], float], budget: int
) -> None:
    """Branin's minimum is 0.398."""
    keys = ("0", "1", "2")
    bandit = [
        min(search(GaussianProcessSuggester(space, key=key, random_starts=5), value, budget))
        for key in keys
    ]
    rand = [min(search(RandomSuggester(space, key=str(n)), value, budget)) for n in range(15)]
    assert np.median(bandit) - 0.398 < (np.median(rand) - 0.398) / 1.5


def history(n: int = 8) -> list[tuple[Settings, float | None]]:
    rng = np.random.default_rng(1)
    points = [MIXED.sample(rng) for _ in range(n)]
    return [(point, mixed_value(point)) for point in points]


def told(observations: list[tuple[Settings, float | None]], key: str = "k") -> Suggester:
    suggester = GaussianProcessSuggester(MIXED, key=key)
    for settings, value in observations:
        suggester.tell(settings, value)
    return suggester


def test_a_replay_gives_the_same_next_point_and_asking_twice_does_too() -> None:
    suggester = told(history())
    first = suggester.ask()
    assert suggester.ask() == first
    assert told(history()).ask() == first
    assert told(history(7)).ask() != first


def test_values_are_plain_and_inside() -> None:
    settings = told(history()).ask()
    assert settings is not None and settings in MIXED
    assert {key: type(value) for key, value in settings.items()} == {
        "k": str,
        "x": float,
        "y": float,
    }


@pytest.mark.parametrize("bad", [None, math.nan, math.inf, -math.inf])
def test_a_failure_is_told_the_worst_finite_value(bad: float | None) -> None:
    good = history()
    worst = max(value for _, value in good if value is not None)
    failed = (MIXED.at(0.37), bad)
    assert told([*good, failed]).ask() == told([*good, (MIXED.at(0.37), worst)]).ask()


def test_nothing_but_failures_is_the_sequence() -> None:
    failed = [(settings, None) for settings, _ in history()]
    sobol = SobolSuggester(MIXED, key="k")
    for settings, value in failed:
        sobol.tell(settings, value)
    assert told(failed).ask() == sobol.ask() is not None


def test_equal_values_do_not_break_the_model() -> None:
    settings = told([(settings, 3.0) for settings, _ in history()]).ask()
    assert settings is not None and settings in MIXED


def test_pending_points_are_neither_repeated_nor_approached() -> None:
    suggester = told(history(12))
    pending: list[Settings] = []
    for _ in range(4):
        settings = suggester.ask(pending)
        assert settings is not None and settings not in pending
        pending.append(settings)
    positions = np.array([[settings["x"], settings["y"]] for settings in pending])
    gaps = np.abs(positions[:, None] - positions[None]).max(-1)[np.triu_indices(4, 1)]
    assert gaps.min() > 0.1


def test_pending_points_count_before_anything_is_known() -> None:
    suggester = GaussianProcessSuggester(MIXED, key="k", random_starts=2)
    pending: list[Settings] = []
    for _ in range(6):
        settings = suggester.ask(pending)
        assert settings is not None and settings not in pending
        pending.append(settings)


@pytest.mark.parametrize("name", ["gaussian_process", "grid", "random", "sobol"])
def test_a_finite_space_is_searched_to_its_end_without_repeats(name: str) -> None:
    space = Space.parse({"a": "choice(x, y)", "n": "range(1, 4)"})
    suggester = build_suggester(name, space, key="k")
    seen = []
    while (settings := suggester.ask()) is not None:
        assert settings not in seen
        seen.append(settings)
        suggester.tell(settings, float(settings["n"]))
    assert len(seen) == 6


def test_settings_outside_the_space_are_remembered_but_not_modelled() -> None:
    good = history()
    assert told([*good, ({"x": 99.0}, 1.0)]).ask() is not None


def test_spanning_decades_is_modelled_by_the_logarithm() -> None:
    space = Space.parse({"lr": "tag(log, interval(1e-5, 1e-2))"})

    def value(settings: Settings) -> float:
        return float(10 ** (abs(math.log10(settings["lr"]) + 3.2) * 3))

    found = search(GaussianProcessSuggester(space, key="k", random_starts=3), value, 12)
    assert min(found) < 1.5


def test_unknown_suggester() -> None:
    with pytest.raises(ConfigError, match="did you mean 'gaussian_process'"):
        build_suggester("gausian_process", PLANE, key="")
    with pytest.raises(ConfigError, match=r"acquisition 'lbc'; did you mean 'lcb'"):
        build_suggester("gp", PLANE, key="", acquisition="lbc")


def test_sobol_points_are_scipys_and_fill_the_space() -> None:
    suggester = SobolSuggester(PLANE, key="k")
    drawn = []
    for _ in range(64):
        settings = suggester.ask()
        assert settings is not None
        drawn.append([(settings["x"] + 5) / 15, settings["y"] / 15])
        suggester.tell(settings, 1.0)
    seed = int(files.digest(["k", "sobol"]), 16) % 2**32
    expected = qmc.Sobol(2, scramble=True, rng=seed).random(64)
    assert np.allclose(drawn, expected, atol=1e-7)
    chance = np.random.default_rng(0).random((64, 2))
    assert qmc.discrepancy(np.array(drawn)) < qmc.discrepancy(chance) / 3


def test_a_grid_is_tried_in_order() -> None:
    space = Space.parse({"lr": "tag(log, interval(1e-4, 1e-2))", "n": "choice(1, 5)"})
    suggester = build_suggester("grid", space, key="", points=3)
    found = []
    while (settings := suggester.ask(found[-1:])) is not None:
        found.append(settings)
        suggester.tell(settings, None)
    assert [(s["lr"], s["n"]) for s in found] == [
        (lr, n) for lr in (1e-4, 1e-3, 1e-2) for n in (1, 5)
    ]


class Known:
    """A model with a known mean and deviation."""

    def predict(self, points: Any, return_std: bool = False) -> Any:
        mean, deviation = points[:, 0], points[:, 1]
        return (mean, deviation) if return_std else mean


def test_acquisitions_equal_their_closed_forms() -> None:
    rng = np.random.default_rng(0)
    points = np.column_stack([rng.normal(size=50), rng.uniform(0.1, 2, 50)])
    mean, deviation = points.T
    best, xi = -0.3, 0.05
    z = (best - xi - mean) / deviation
    options: dict[str, float] = {"kappa": 1.7, "xi": xi}
    expected = {
        "lcb": mean - 1.7 * deviation,
        "ei": -np.log((best - xi - mean) * norm.cdf(z) + deviation * norm.pdf(z)),
        "pi": -norm.logcdf(z),
    }
    for name, values in expected.items():
        assert np.allclose(acquisition(name, points, Known(), best, **options), values)


def test_improvements_too_small_for_numbers_are_told_apart() -> None:
    """Against mpmath's 50 digits: log(phi(z) + z Phi(z))."""
    expected = {
        -0.5: -1.62051626438732,
        -3.0: -7.869686059603029,
        -10.0: -55.55312203612236,
        -40.0: -808.29856835662,
        -1e5: -5000000023.944789,
    }
    z = np.array(sorted(expected))
    assert np.allclose(_log_improvement(z), [expected[each] for each in z], rtol=1e-9)


@pytest.mark.parametrize("name", ["ei", "hedge"])
def test_other_acquisitions_find_the_minimum_and_replay(name: str) -> None:
    def made() -> Suggester:
        return build_suggester("gp", PLANE, key="k", acquisition=name, random_starts=5)

    values = search(made(), plane_value, 28)
    assert min(values) < 2.0
    assert search(made(), plane_value, 28) == values


def test_numbers_are_searched_within_each_combination_of_options() -> None:
    """The better option has its minimum where the other is worst; corners have none of them."""
    space = Space.parse({"x": "interval(0, 1)", "k": "choice(a, b)", "m": "choice(1, 5, 9)"})

    def value(settings: Settings) -> float:
        target = {"a": 0.23, "b": 0.71}[settings["k"]]
        return 1 + (settings["x"] - target) ** 2 + (settings["k"] == "a") + settings["m"] / 10

    suggester = build_suggester("gp", space, key="k", random_starts=6)
    best: Settings = {}
    for _ in range(22):
        settings = suggester.ask()
        assert settings is not None
        suggester.tell(settings, value(settings))
        best = min(best or settings, settings, key=value)
    assert (best["k"], best["m"]) == ("b", 1) and abs(best["x"] - 0.71) < 0.05


def test_a_long_history_is_cut_but_keeps_its_best() -> None:
    rng = np.random.default_rng(0)
    values = list(rng.normal(size=1000))
    chosen = _chosen(values, np.random.default_rng(1))
    assert len(chosen) == len(set(chosen)) == 150 and chosen == sorted(chosen)
    assert set(np.argsort(values)[:75]) <= set(chosen)
    assert chosen == _chosen(values, np.random.default_rng(1))
    assert _chosen(values[:150], rng) == list(range(150))


@pytest.mark.slow
def test_a_third_of_failures_does_not_mislead_the_bandit() -> None:
    """Failures by chance, and in the half of the plane where the best values lie nearby."""

    def value(settings: Settings, chance: float) -> float | None:
        return None if chance < 0.1 or settings["x"] > 4 else plane_value(settings)

    def best(suggester: Suggester, seed: int) -> float:
        found, failures = math.inf, 0
        for chance in np.random.default_rng(seed).random(24):
            settings = suggester.ask()
            assert settings is not None
            observed = value(settings, float(chance))
            suggester.tell(settings, observed)
            failures += observed is None
            found = min(found, math.inf if observed is None else observed)
        return found

    bandit = [best(build_suggester("gp", PLANE, key=str(n)), n) for n in range(3)]
    rand = [best(RandomSuggester(PLANE, key=str(n)), n) for n in range(15)]
    assert np.median(bandit) - 0.398 < (np.median(rand) - 0.398) / 2


def test_the_module_function_is_what_a_suggester_does() -> None:
    observations = history(12)
    pending = [MIXED.at(0.4)]
    suggester = told(observations)
    assert suggest("gp", MIXED, "k", {}, observations, pending) == suggester.ask(pending)
