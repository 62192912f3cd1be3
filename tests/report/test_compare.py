"""What is claimed of cells: nothing where there is nothing, the truth where there is something."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gan_bench.report.aggregate import Part, summarize
from gan_bench.report.answer import answer
from gan_bench.report.compare import compare, robustness, strata_of
from gan_bench.report.trial import Objective, Trial

OBJECTIVE = Objective("fid_digits_cnn")


def a_trial(
    cell: str, fid: float | None, settings: dict[str, Any], seed: int = 0, **more: Any
) -> Trial:
    trial = Trial(
        trial_id=f"{cell}-{settings}-{seed}",
        cell=cell,
        axes={"method": cell},
        settings=settings,
        source="fixed",
        index=0,
        seed=seed,
        overrides=(),
        folder=Path("nowhere"),
        status="diverged" if fid is None else "completed",
        objective=fid,
    )
    for name, value in more.items():
        setattr(trial, name, value)
    return trial


def a_part(trials: list[Trial]) -> Part:
    cells = summarize(trials, OBJECTIVE)
    return Part(1, "digits", "p", OBJECTIVE, cells, {}, ())


def simulated(rng: np.random.Generator, shift: float = 0.0, divergence: float = 0.1) -> Part:
    """Five cells on a grid of 8 settings, 3 seeds: settings matter far more than seeds do."""
    levels = rng.normal(3, 0.6, 8)
    trials = []
    for cell in "abcde":
        for i, level in enumerate(levels):
            for seed in range(3):
                value = float(np.exp(rng.normal(level - (shift if cell == "a" else 0), 0.15)))
                bad = rng.random() < divergence
                trials.append(a_trial(cell, None if bad else value, {"optimizer.lr": i}, seed))
    return a_part(trials)


@pytest.mark.slow
def test_a_study_of_equal_cells_claims_no_winner() -> None:
    """200 studies without any difference: a winner in at most 5%, as a pair in all is."""
    rng = np.random.default_rng(0)
    winners = pairs = 0
    for _ in range(200):
        comparison = compare(simulated(rng))
        winners += comparison.winner() is not None
        pairs += any(pair.significant for pair in comparison.pairs)
    assert winners <= 0.05 * 200
    assert pairs <= 0.09 * 200  # 5% within what 200 studies can tell


def test_a_cell_that_is_better_is_found() -> None:
    rng = np.random.default_rng(1)
    found = [compare(simulated(rng, shift=0.4)).winner() for _ in range(20)]
    assert found.count("a") >= 18 and set(found) <= {"a", None}


def test_the_answer_names_a_winner_only_where_there_is_one() -> None:
    rng = np.random.default_rng(2)
    part = simulated(rng, shift=1.0)
    assert answer(part, compare(part))[0].startswith("a is better than each of the other 4")
    part = simulated(rng)
    assert answer(part, compare(part))[0].startswith("No cell is better than all others")


def test_cells_meet_under_the_settings_that_both_have() -> None:
    trials = [
        a_trial("gp", 10.0, {"optimizer.lr": 1, "regularizer.weight": 1}),
        a_trial("gp", 11.0, {"optimizer.lr": 1, "regularizer.weight": 10}),
        a_trial("gp", None, {"optimizer.lr": 2, "regularizer.weight": 1}),
        a_trial("none", 12.0, {"optimizer.lr": 1}),
        a_trial("none", 50.0, {"optimizer.lr": 3}),
        a_trial("none", 60.0, {"optimizer.lr": 4}),
    ]
    part = a_part(trials)
    gp, none = (next(c for c in part.cells if c.name == name) for name in ("gp", "none"))
    first, rest = strata_of(gp, none, OBJECTIVE)
    assert sorted(first[0]) == [10.0, 11.0] and list(first[1]) == [12.0]
    assert list(rest[0]) == [float("inf")] and sorted(rest[1]) == [50.0, 60.0]


def test_a_failed_trial_says_nothing_and_a_stopped_one_is_poor() -> None:
    part = a_part(
        [
            a_trial("a", 10.0, {}, 0),
            a_trial("a", None, {}, 1, status="failed"),
            a_trial("a", 20.0, {}, 2, status="stopped"),
            a_trial("b", 30.0, {}, 0),
        ]
    )
    ((ours, theirs),) = strata_of(part.cells[0], part.cells[1], OBJECTIVE)
    assert sorted(ours) == [10.0, float("inf")] and list(theirs) == [30.0]


def test_robustness_of_a_known_cell() -> None:
    values = [10.0, 12.0, 14.0, 20.0, 40.0, 80.0, None, None]
    part = a_part([a_trial("a", v, {"optimizer.lr": i}) for i, v in enumerate(values)])
    found = robustness(part.cells[0], OBJECTIVE)
    assert found is not None
    assert found.iqm == pytest.approx((14 + 20 + 40 + 80) / 4)
    assert found.loss == pytest.approx(38.5 / 10 - 1)
    assert found.near == 3 / 8 and found.unusable == 0.25
    assert found.unusable_low < 0.25 < found.unusable_high


def test_the_top_is_of_settings_at_the_median_of_their_seeds() -> None:
    trials = [a_trial("a", fid, {"optimizer.lr": 1}, seed) for seed, fid in enumerate((1, 90, 95))]
    trials += [a_trial("a", fid, {"optimizer.lr": 2}, seed) for seed, fid in enumerate((8, 9, 10))]
    (cell,) = a_part([*trials]).cells
    assert [setting.median for setting in cell.top] == [9]
    assert [setting.median for setting in summarize(trials, OBJECTIVE, share=1.0)[0].top] == [9, 90]
