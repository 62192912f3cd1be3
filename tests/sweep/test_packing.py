"""What `engine.trials_per_device=auto` comes to."""

from __future__ import annotations

import os

import pytest

from gan_bench.sweep.packing import SMALL, TOGETHER, parameters, resolve
from gan_bench.sweep.study_file import build_study

CORES = len(os.sched_getaffinity(0))


def study(*base: str, trials: int = 48):
    return build_study(
        {
            "name": "packing",
            "objective": {"metric": "fid_digits_cnn"},
            "base": ["dataset=digits", "device=cpu", *base],
            "settings": {"random": {"trials": trials}, "space": {"optimizer.lr": "interval(0, 1)"}},
        }
    )


def test_parameters_are_counted():
    """mlp with 16 units on 64 pixels: G 4 -> 16 -> 16 -> 64, D 64 -> 16 -> 16 -> 1."""
    small = study("architecture.hidden=16", "latent.dim=4")
    generator = 5 * 16 + 17 * 16 + 17 * 64
    assert parameters(small, small.cells[0]) == generator + 65 * 16 + 17 * 16 + 17


def test_small_networks_are_stacked_on_every_core():
    small = study("architecture.hidden=64")
    assert parameters(small, small.cells[0]) < SMALL
    found = resolve(small, {"trials_per_device": "auto"})
    assert found == {"slots": CORES, "threads": 1, "trials_per_device": TOGETHER}


def test_what_is_set_stays_and_few_trials_are_spread():
    small = study("architecture.hidden=64", trials=8)
    given = {"trials_per_device": "auto", "slots": 4, "threads": 2}
    assert resolve(small, given) == {"slots": 4, "threads": 2, "trials_per_device": 2}


@pytest.mark.parametrize("given", [{}, {"trials_per_device": 5}, {"slots": 3}])
def test_without_auto_nothing_changes(given):
    assert resolve(study(), given) == given


def test_large_networks_train_one_by_one():
    large = study("architecture.hidden=512")
    assert resolve(large, {"trials_per_device": "auto"}) == {"trials_per_device": 1}
