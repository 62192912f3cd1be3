"""When a search gains no more, and what limits refuse."""

from __future__ import annotations

import pytest

from gan_bench.errors import ConfigError
from gan_bench.sweep.limits import Budget, Retries, StopRules


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], None),
        ([5.0, 4.0, 3.0], None),
        ([3.0, 4.0, 5.0], None),
        ([3.0, 4.0, 5.0, 3.0], "nothing better in 3 settings"),
        ([3.0, 4.0, None, None], "nothing better in 3 settings"),
        ([None, None, None], "nothing better in 3 settings"),
        ([9.0, 1.0], "stop.target=1 is reached"),
    ],
)
def test_a_search_ends_when_it_is_good_enough_or_gains_nothing(
    values: list[float | None], expected: str | None
) -> None:
    found = StopRules(patience=3, target=1.0).reached(values, sign=1.0)
    assert found is None if expected is None else expected in str(found)


def test_targets_of_maximized_objectives() -> None:
    rules = StopRules(target=8.0)
    assert rules.reached([-7.9], sign=-1.0) is None
    assert rules.reached([-7.9, -8.1], sign=-1.0) is not None


def test_values_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="budget.trials is 0; it must be above 0"):
        Budget(trials=0)
    with pytest.raises(ConfigError, match="stop.patience is 0"):
        StopRules(patience=0)
    with pytest.raises(ConfigError, match="retries.lost is -1"):
        Retries(lost=-1)
