"""Keys carry extractors; no metric is taken for another."""

from __future__ import annotations

import pytest

from gan_bench.metric_keys import find, measures


@pytest.mark.parametrize(
    ("key", "metric", "expected"),
    [
        ("fid", "fid", True),
        ("fid_digits_cnn", "fid", True),
        ("fid_inception_1234abcd", "fid", True),
        ("fid_infinity", "fid", False),
        ("fid_infinity_digits_cnn", "fid", False),
        ("fid_infinity_digits_cnn", "fid_infinity", True),
        ("intra_fid", "fid", False),
        ("kid_std_digits_cnn", "kid_mean", False),
        ("precision", "fid", False),
    ],
)
def test_whose_key_it_is(key: str, metric: str, expected: bool):
    assert measures(key, metric) is expected


def test_the_key_of_a_metric_among_others():
    keys = ["fid_infinity_digits_cnn", "fid_digits_cnn", "kid_mean_digits_cnn"]
    assert find(keys, "fid") == "fid_digits_cnn"
    assert find(keys, "fid_infinity") == "fid_infinity_digits_cnn"
    assert find(keys, "fid_digits_cnn") == "fid_digits_cnn"
    assert find(keys, "is_mean") is None
