"""What holds for every registered metric."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import gan_bench.evaluation  # noqa: F401  (fills METRICS)
from gan_bench.errors import ConfigError, DataError
from gan_bench.evaluation.statistics import FeatureStatistics
from gan_bench.registry import METRICS


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("kid", {"subsets": 0}),
        ("kid", {"subset_size": 1}),
        ("kid", {"estimator": "block"}),
        ("density_coverage", {"k": 0}),
        ("prd", {"clusters": 1}),
        ("prd", {"runs": 0}),
        ("fid_infinity", {"points": 1}),
        ("inception_score", {"splits": 0}),
        ("precision_recall", {"k": 0}),
        ("ms_ssim", {"pairs": 0}),
        ("ms_ssim", {"max_images": 1}),
        ("kid", {"subset_sizes": 3}),
    ],
)
def test_options_out_of_range_are_refused(name: str, options: dict[str, int | str]) -> None:
    with pytest.raises(ConfigError) as caught:
        METRICS.build(name, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", METRICS.names())
def test_a_metric_without_what_it_needs_is_an_error_line(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataError):
            METRICS.build(name)(None, FeatureStatistics(n=0), rng())


@pytest.mark.parametrize("name", ["kid", "precision_recall", "prd", "intra_fid"])
def test_features_of_different_sizes_are_refused(name: str) -> None:
    sides = [
        FeatureStatistics(n=30, features=np.ones((30, dim), dtype=np.float32)) for dim in (2, 3)
    ]
    with pytest.raises(DataError, match="can't be compared"):
        METRICS.build(name)(*sides, rng())


@pytest.mark.parametrize("name", METRICS.names())
def test_what_is_plenty_is_not_refused_beforehand(name: str) -> None:
    METRICS.build(name).check(20_000, 20_000, (3, 32, 32))
    METRICS.build(name).check(None, 20_000, None)
