"""Intervals over sample sets: their coverage, and that pairing takes away what both share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gan_bench.errors import ConfigError
from gan_bench.evaluation.uncertainty import interval, paired_difference, summarize


def test_mean_and_deviation_are_numpys() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, size=12)
    found = interval(values.tolist())
    assert found["mean"] == pytest.approx(values.mean())
    assert found["std"] == pytest.approx(values.std(ddof=1))
    assert found["low"] < found["mean"] < found["high"]
    assert found["values"] == values.tolist()
    assert interval(values.tolist()) == found  # the resampling is seeded


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    draws = np.random.default_rng(1)
    covered = 0
    for _ in range(60):
        found = interval(draws.normal(size=30).tolist())
        covered += found["low"] <= 0.0 <= found["high"]
    # 95% nominal, about 93% for 30 values; 60 trials deviate by 3 points
    assert 50 <= covered <= 60
    width = 2 * 1.96 / np.sqrt(30)
    assert found["high"] - found["low"] == pytest.approx(width, rel=0.5)


def test_equal_values_have_no_width() -> None:
    found = interval([2.0, 2.0, 2.0])
    assert (found["low"], found["high"], found["std"]) == (2.0, 2.0, 0.0)


def result(values: list[float], **changes: Any) -> dict[str, Any]:
    common = {"protocol": "p", "seed": 0, "reference_digest": "d", "n_fake": 10}
    return summarize([{"fid": value, **common, **changes} for value in values], ["fid"])


def test_several_sets_become_one_result() -> None:
    found = result([1.0, 2.0, 6.0])
    assert found["fid"] == 3.0 and found["sets"] == 3 and found["n_fake"] == 10
    assert found["protocol"] == "p;sets=3"
    assert found["uncertainty"]["fid"]["values"] == [1.0, 2.0, 6.0]


def test_a_paired_difference_sees_through_what_both_share() -> None:
    draws = np.random.default_rng(2)
    shared = draws.normal(scale=5.0, size=10)
    first, second = result((shared + 1.0).tolist()), result(shared.tolist())
    each = first["uncertainty"]["fid"]
    assert each["low"] < second["fid"] < each["high"]  # apart, the two look alike
    found = paired_difference(first, second)["fid"]
    assert found["mean"] == pytest.approx(1.0)
    assert found["low"] == pytest.approx(1.0) and found["high"] == pytest.approx(1.0)


@pytest.mark.parametrize("changes", [{"protocol": "q"}, {"seed": 1}, {"reference_digest": "e"}])
def test_what_was_measured_otherwise_is_not_compared(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="can't be compared"):
        paired_difference(result([1.0, 2.0]), result([1.0, 2.0], **changes))


def test_one_set_has_no_interval() -> None:
    with pytest.raises(ConfigError, match="2 sample sets"):
        paired_difference({"protocol": "p"}, {"protocol": "p"})
