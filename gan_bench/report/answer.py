"""The answer in words: which cell is best, by how much, and how far the figures carry it."""

from __future__ import annotations

import statistics

from gan_bench.report.aggregate import Cell, Part, values
from gan_bench.report.naming import is_published, label, number, plural, settings_text
from gan_bench.report.study import Objective

FEW = 20
"""Below so many completed trials the top 5% is a single trial."""


def answer(part: Part) -> list[str]:
    """Say in sentences what a part of a study shows, the conclusion first."""
    ranked = [cell for cell in part.cells if cell.ranked]
    if not ranked:
        return ["No trial has completed with a value yet, so there is nothing to compare."]
    sentences = [_winner(ranked[0], part), *_baselines(ranked[0], part)]
    if len(ranked) > 1:
        sentences.append(_runner_up(ranked[0], ranked[1], part.objective))
    sentences += _caution(ranked)
    return sentences


def comparability(part: Part) -> str | None:
    """Say that a metric isn't the published one; None where it is."""
    metric = part.objective.metric
    if is_published(metric):
        return None
    return (
        f"{label(metric)} is measured with other features than the published Inception's. It "
        "ranks the trials of this study; it is not comparable with published figures."
    )


def _winner(cell: Cell, part: Part) -> str:
    best = cell.best
    assert best is not None
    settings = settings_text(best.settings)
    return (
        f"Best: {cell.name}, {label(part.objective.metric)} {number(best.objective)}"
        + (f" with {settings}" if settings else "")
        + f", of {plural(len(cell.ranked), 'completed trial')} in its cell."
    )


def _baselines(cell: Cell, part: Part) -> list[str]:
    best = values(cell.ranked)[0]
    untrained, real = part.baseline("untrained"), part.baseline("real")
    sentences = []
    if untrained is not None:
        share = f": the best is at {best / untrained:.1%} of it" if untrained > 0 <= best else ""
        sentences.append(f"An untrained generator has {number(untrained)}{share}.")
    if real is not None:
        sentences.append(f"Real images against real ones have {number(real)}: the floor.")
    return sentences


def _runner_up(first: Cell, second: Cell, objective: Objective) -> str:
    ours, theirs = values(first.top), values(second.top)
    apart = max(map(objective.cost, ours)) < min(map(objective.cost, theirs))
    verdict = "do not overlap" if apart else "overlap"
    single = len(ours) == len(theirs) == 1
    return (
        f"Next: {second.name} with {number(values(second.ranked)[0])}. Median of the top 5%: "
        f"{number(statistics.median(ours))} against {number(statistics.median(theirs))}"
        + ("." if single else f"; their ranges {verdict}.")
    )


def _caution(ranked: list[Cell]) -> list[str]:
    fewest = min(len(cell.ranked) for cell in ranked)
    if fewest >= FEW:
        return []
    return [
        f"With {plural(fewest, 'completed trial')} in the smallest cell its top 5% is a single "
        "trial: differences of this size may be luck. More trials and seeds would tell."
    ]
