"""Ranges, canonical settings and overrides."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from gan_bench import files
from gan_bench.errors import ConfigError
from gan_bench.sweep.space import Choice, Interval, Space, canonical, parse_dimension, to_overrides


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("interval(0, 1)", Interval(0.0, 1.0)),
        ("interval(1, 5)", Interval(1.0, 5.0)),
        ("tag(log, interval(1e-5, 1e-2))", Interval(1e-5, 1e-2, log=True)),
        ("int(interval(1, 5))", Interval(1, 5, integer=True)),
        ("tag(log, int(interval(1, 100)))", Interval(1, 100, log=True, integer=True)),
        ("range(1, 5)", Interval(1, 4, integer=True)),
        ("range(0, 1, 0.25)", Choice((0.0, 0.25, 0.5, 0.75))),
        ("choice(1, 5)", Choice((1, 5))),
        ("choice(true, 1)", Choice((True, 1))),
        ("1,5,5", Choice((1, 5))),
        ("'a b',null,hinge", Choice(("a b", None, "hinge"))),
        ("[1,2],[3,'4']", Choice(([1, 2], [3, "4"]))),
        (["a", "b"], Choice(("a", "b"))),
    ],
)
def test_ranges_are_read_in_hydra_syntax(text: object, expected: object) -> None:
    dimension = parse_dimension("k", text)
    assert dimension == expected
    assert parse_dimension("k", Space({"k": dimension}).to_dict()["k"]) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("interval(1, 0)", "below"),
        ("interval(1, 1)", "below"),
        ("interval(0, inf)", "finite"),
        ("tag(log, interval(0, 1))", "log scale"),
        ("tag(lgo, interval(1, 2))", "did you mean 'log'"),
        ("tag(log, choice(1, 2))", "only an interval"),
        ("interval(1", "can't be read"),
        ("interval(a, b)", "can't be read"),
        ("0.5", "not a range"),
        ("range(5, 1)", "nothing to choose"),
        ([], "nothing to choose"),
    ],
)
def test_bad_ranges_are_refused_in_one_line_that_names_the_key(text: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        Space.parse({"optimizer.lr": text})
    assert "optimizer.lr" in str(caught.value)
    assert "\n" not in str(caught.value)


SPACE = Space.parse(
    {
        "optimizer.lr": "tag(log, interval(1e-5, 1e-2))",
        "optimizer.beta1": "interval(0, 0.9)",
        "training.n_disc": "choice(1, 5)",
        "training.batch_size": "int(interval(16, 64))",
        "loss": "choice(hinge, wasserstein)",
    }
)


def test_samples_are_canonical_plain_values_of_the_space() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        settings = SPACE.sample(rng)
        assert settings in SPACE
        assert canonical(settings) == settings
        assert all(type(value) in (int, float, str) for value in settings.values())


@pytest.mark.parametrize(
    "interval",
    [
        Interval(-2.0, 3.0),
        Interval(1e-5, 1e-2, log=True),
        Interval(1, 5, integer=True),
        Interval(1, 64, log=True, integer=True),
    ],
)
def test_positions_lead_back_to_their_values(interval: Interval) -> None:
    for position in np.linspace(0, 1, 23):
        value = interval.at(float(position))
        assert value in interval
        assert interval.at(interval.position(value)) == pytest.approx(value, rel=1e-12)
        if not interval.integer:
            assert interval.position(value) == pytest.approx(position, abs=1e-12)


def test_the_log_scale_is_uniform_in_the_exponent_and_integers_are_all_as_likely() -> None:
    rng = np.random.default_rng(0)
    draws = [SPACE.sample(rng) for _ in range(2000)]
    exponents = [math.log10(draw["optimizer.lr"]) for draw in draws]
    assert abs(np.mean(exponents) + 3.5) < 0.06
    space = Space.parse({"n": "range(1, 4)"})
    counts = np.bincount([space.sample(rng)["n"] for _ in range(3000)], minlength=4)
    assert counts[0] == 0 and all(abs(count - 1000) < 120 for count in counts[1:])


def test_settings_outside_are_not_contained() -> None:
    inside = SPACE.at(0.5)
    assert inside in SPACE
    for key, value in (("optimizer.lr", 0.5), ("training.n_disc", 2), ("loss", "minimax")):
        assert {**inside, key: value} not in SPACE
    assert {**inside, "seed": 0} not in SPACE
    assert {key: inside[key] for key in list(inside)[1:]} not in SPACE


def test_canonical_settings_have_stable_digests() -> None:
    settings = {"b": 0.1 + 0.2, "a": np.float64(1e-4), "c": np.int64(3)}
    assert canonical(settings) == {"a": 1e-4, "b": 0.3, "c": 3}
    assert files.digest(canonical(settings)) == files.digest({"a": 0.0001, "b": 0.3, "c": 3})
    space = Space.parse({"x": "interval(0, 1)", "n": "int(interval(0, 3))"})
    conformed = space.conform({"x": 0, "n": 1})
    assert conformed == {"x": 0.0, "n": 1}
    assert type(conformed["x"]) is float and type(conformed["n"]) is int


def test_sizes_and_enumeration() -> None:
    assert SPACE.size is None
    space = Space.parse({"a": "choice(x, y)", "n": "range(1, 4)"})
    assert space.size == 6
    assert len({files.digest(settings) for settings in space.enumerate(100)}) == 6
    assert len(list(space.enumerate(4))) == 4
    assert Space().size == 1 and list(Space().enumerate(9)) == [{}]


@pytest.mark.parametrize(
    "value",
    [1, 1.0, 1e-05, -2.5, True, None, "hinge", "a b", "null", "1e-4", "x,y", "it's", [1, "a b"], ""]
    + ["classifier:${dataset.name}", "/data/set 1", {"a": 1}],
)
def test_overrides_read_back_as_the_same_value_and_type(value: object) -> None:
    (override,) = to_overrides({"key": value})
    read = OverridesParser.create().parse_override(override).value()
    assert read == value and type(read) is type(value)


def test_groups_are_overridden_before_their_fields() -> None:
    settings = {"loss.drift": 0.1, "loss": "wasserstein"}
    assert to_overrides(settings) == ["loss=wasserstein", "loss.drift=0.1"]
