"""The answer in words: which cell is best, by how much, and how far the figures carry it."""

from __future__ import annotations

import statistics

from gan_bench.report.aggregate import Cell, Part, medians, values
from gan_bench.report.compare import ALPHA, Comparison
from gan_bench.report.naming import is_published, label, number, plural, settings_text

FEW = 20
"""With fewer settings in a cell its top 5% is a single one."""


def answer(part: Part, comparison: Comparison) -> list[str]:
    """Say in sentences what a part of a study shows, the conclusion first."""
    ranked = [cell for cell in part.cells if cell.settings]
    if not ranked:
        return ["No trial has completed with a value yet, so there is nothing to compare."]
    sentences = []
    if len(ranked) > 1:
        sentences.append(_verdict(ranked, comparison))
    sentences += [_best(part), *_baselines(part)]
    if len(ranked) > 1:
        sentences.append(_runner_up(ranked[0], ranked[1]))
    return sentences + _caution(ranked)


def comparability(part: Part) -> str | None:
    """Say that a metric isn't the published one; None where it is."""
    metric = part.objective.metric
    if is_published(metric):
        return None
    return (
        f"{label(metric)} is measured with other features than the published Inception's. It "
        "ranks the trials of this study; it is not comparable with published figures."
    )


def _verdict(ranked: list[Cell], comparison: Comparison) -> str:
    """Name a winner only where luck is an unlikely reason against every other cell."""
    winner = comparison.winner()
    if winner is not None:
        return (
            f"{winner} is better than each of the other {len(ranked) - 1} under the same settings "
            f"(p < {ALPHA} after Holm's correction for {plural(len(comparison.pairs), 'pair')})."
        )
    leader = ranked[0].name
    beaten = [cell.name for cell in ranked[1:] if comparison.beats(leader, cell.name)]
    level = [cell.name for cell in ranked[1:] if cell.name not in beaten]
    said = (
        f"No cell is better than all others beyond what luck could do. {leader} has the best top "
        f"5%; these can't be told from it: {', '.join(level)}"
    )
    return said + (f"; it is better than {', '.join(beaten)}." if beaten else ".")


def _best(part: Part) -> str:
    cell, best = min(
        ((cell, cell.best) for cell in part.cells if cell.best),
        key=lambda pair: pair[1].cost(part.objective),
    )
    settings = settings_text(best.settings)
    return (
        f"Best trial: {cell.name}, {label(part.objective.metric)} {number(best.objective)}"
        + (f" with {settings}" if settings else "")
        + f", of {plural(len(cell.ranked), 'completed trial')} in its cell."
    )


def _baselines(part: Part) -> list[str]:
    best = min(
        (values(cell.ranked)[0] for cell in part.cells if cell.ranked), key=part.objective.cost
    )
    untrained, real = part.baseline("untrained"), part.baseline("real")
    sentences = []
    if untrained is not None:
        share = f": the best is at {best / untrained:.1%} of it" if untrained > 0 <= best else ""
        sentences.append(f"An untrained generator has {number(untrained)}{share}.")
    if real is not None:
        sentences.append(f"Real images against real ones have {number(real)}: the floor.")
    return sentences


def _runner_up(first: Cell, second: Cell) -> str:
    ours, theirs = medians(first.top), medians(second.top)
    counts = plural(len(ours), "setting"), plural(len(theirs), "setting")
    return (
        f"Median of the top 5%: {first.name} {number(statistics.median(ours))} ({counts[0]}), "
        f"{second.name} {number(statistics.median(theirs))} ({counts[1]})."
    )


def _caution(ranked: list[Cell]) -> list[str]:
    fewest = min(len(cell.settings) for cell in ranked)
    if fewest >= FEW:
        return []
    return [
        f"With {plural(fewest, 'setting')} in the smallest cell its top 5% is a single setting: "
        "differences of tops may be luck. More settings and seeds would tell."
    ]
