"""The bandit: better than random search, deterministic, robust to failures."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from skopt.benchmarks import branin

from gan_bench.errors import ConfigError
from gan_bench.sweep.space import Settings, Space
from gan_bench.sweep.suggest import (
    GaussianProcessSuggester,
    RandomSuggester,
    Suggester,
    build_suggester,
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


def test_nothing_but_failures_is_random_search() -> None:
    failed = [(settings, None) for settings, _ in history()]
    settings = told(failed).ask()
    assert settings is not None
    assert settings == RandomSuggester.ask(told(failed))  # type: ignore[arg-type]


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


@pytest.mark.parametrize("name", ["gaussian_process", "random"])
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
