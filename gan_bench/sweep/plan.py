"""What comes next in a study: open trials, then fixed settings, then the search.

The fixed settings go round-robin over seeds and cells, the search round-robin over cells. Each
setting of the search is chosen by what is known of its cell at that time; it is journalled, and so
settled, before its trials start.
"""

from __future__ import annotations

import collections
import dataclasses
import math
import statistics
from collections.abc import Iterator

from gan_bench import files
from gan_bench.sweep.asking import Answer, Asker
from gan_bench.sweep.space import Settings
from gan_bench.sweep.store import Trial, TrialStore
from gan_bench.sweep.study import Cell, Study

_UNLIMITED = 10**9


@dataclasses.dataclass
class _Search:
    """The search in one cell."""

    cell: Cell
    key: str
    limit: int
    """Settings that it may try."""
    index: int = 0
    """Of the next setting."""
    answer: Answer | None = None
    """The next setting, when it is being computed."""
    ended: str | None = None
    """Why it has ended before its limit."""


class Planner:
    """Hands out trials to start, each once."""

    def __init__(self, study: Study, store: TrialStore, asker: Asker) -> None:
        """Go on where the journal ends.

        Args:
            study: What is planned.
            store: What has been proposed, and what is known.
            asker: Computes suggestions.
        """
        self._study, self._store, self._asker = study, store, asker
        self._seeds = len(study.bandit.seeds)
        self._open: collections.deque[Trial] = collections.deque()
        self._fixed: Iterator[Trial] | None = self._fixed_trials()
        self._cut = False
        self._searches = [
            _Search(
                cell,
                files.digest([study.name, cell.axes, study.bandit.seed]),
                study.bandit_settings(cell),
            )
            for cell in study.cells
        ]
        for search in self._searches:
            self._complete(search)

    @property
    def exhausted(self) -> bool:
        """Whether there is nothing to start, now or later."""
        return (
            not self._open
            and self._fixed is None
            and not self.asking
            and (
                self._room(self._seeds) <= 0
                or all(s.ended is not None or s.index >= s.limit for s in self._searches)
            )
        )

    @property
    def limited(self) -> str | None:
        """Say that the budget of trials kept some of the plan from starting, if it did."""
        wanted = self._study.budget.trials
        return f"budget.trials={wanted} is used up" if self._cut else None

    @property
    def asking(self) -> bool:
        """Whether suggestions are being computed."""
        return any(search.answer is not None for search in self._searches)

    @property
    def ended(self) -> dict[str, str]:
        """Cell -> why its search ended before its last trial."""
        return {s.cell.name: s.ended for s in self._searches if s.ended is not None}

    def reopen(self, trial: Trial) -> None:
        """Put a trial that was begun before in front of all that is new."""
        self._open.append(trial)

    def take(self, count: int, ahead: int = 0) -> list[Trial]:
        """Return trials to start now, at most `count`; fewer if the next are not known yet.

        Args:
            count: How many slots are free.
            ahead: How many settings of the search to have ready beyond those.
        """
        taken: list[Trial] = []
        while len(taken) < count and (trial := self._next()) is not None:
            taken.append(trial)
        if self._fixed is None:
            self._ask(count - len(taken) + ahead - len(self._open))
        while len(taken) < count and self._open:
            taken.append(self._open.popleft())
        return taken

    def _next(self) -> Trial | None:
        self._collect()
        if not self._open and self._fixed is not None:
            trial = next(self._fixed, None)
            if trial is not None and self._room(1) > 0:
                return self._store.propose([trial])[0]
            self._cut = trial is not None
            self._fixed = None
        if not self._open and self._fixed is None:
            self._ask(1)
            self._collect()
        return self._open.popleft() if self._open else None

    def _room(self, seeds: int) -> int:
        """How many settings with so many trials each may still be proposed."""
        limit = self._study.budget.trials
        return _UNLIMITED if limit is None else (limit - len(self._store.trials)) // seeds

    def _fixed_trials(self) -> Iterator[Trial]:
        study = self._study
        for index in range(max((len(cell.fixed) for cell in study.cells), default=0)):
            for seed in study.seeds:
                for cell in study.cells:
                    if index < len(cell.fixed):
                        trial = study.trial(cell, cell.fixed[index], "fixed", index, seed)
                        if trial.trial_id not in self._store.trials:
                            yield trial

    def _complete(self, search: _Search) -> None:
        """Find where the journal of a cell's search ends, and propose seeds it does not have."""
        while group := self._store.group(search.cell.name, "bandit", search.index):
            self._propose(search, group[0].settings)

    def _propose(self, search: _Search, settings: Settings) -> None:
        """Journal the trials of a setting, all its seeds, and queue those that are new."""
        study = self._study
        trials = [
            study.trial(search.cell, settings, "bandit", search.index, seed)
            for seed in study.bandit.seeds
        ]
        new = [trial for trial in trials if trial.trial_id not in self._store.trials]
        if new:
            self._open.extend(self._store.propose(new))
        search.index += 1

    def _collect(self) -> None:
        """Take in the answers that have come."""
        self._asker.poll()
        for search in self._searches:
            if search.answer is not None and search.answer.done():
                settings, search.answer = search.answer.result(), None
                if settings is None:
                    search.ended = "the space has no more settings"
                else:
                    self._propose(search, settings)

    def _ask(self, wanted: int) -> None:
        """Have suggestions computed, so many in all, each for another cell."""
        able = [search for search in self._searches if self._askable(search)]
        asked = sum(search.answer is not None for search in self._searches)
        room = self._room(self._seeds)
        self._cut = self._cut or (bool(able) and room - asked <= 0)
        wanted = min(wanted, room) - asked
        for search in sorted(able, key=lambda each: each.index)[: max(0, wanted)]:
            history, pending = self._known(search.cell)
            stop = self._study.stop.reached([value for _, value in history], self._sign)
            if stop is not None:
                search.ended = stop
                continue
            bandit = self._study.bandit
            search.answer = self._asker.ask(
                bandit.suggester, search.cell.space, search.key, bandit.options, history, pending
            )

    def _askable(self, search: _Search) -> bool:
        if search.answer is not None or search.ended is not None or search.index >= search.limit:
            return False
        if self._study.bandit.mode == "steady":
            return True
        begun = search.index - search.index % self._study.bandit.batch
        groups = self._store.settings_of(search.cell.name)
        return all(
            trial.finished
            for group in groups
            for trial in group
            if trial.source == "fixed" or trial.index < begun
        )

    @property
    def _sign(self) -> float:
        return self._study.objective.sign

    def _known(self, cell: Cell) -> tuple[list[tuple[Settings, float | None]], list[Settings]]:
        """Return what is known of a cell's settings, in the order of the plan, and the others."""
        history, pending = [], []
        for trials in self._store.settings_of(cell.name):
            bandit = trials[0].source == "bandit"
            seeds = self._study.bandit.seeds if bandit else self._study.seeds
            if len(trials) < len(seeds) or not all(trial.finished for trial in trials):
                pending.append(trials[0].settings)
            else:
                history.append((trials[0].settings, self._median(trials)))
        return history, pending

    def _median(self, trials: list[Trial]) -> float | None:
        """Return the median over seeds, lower is better; a failed seed counts as the worst."""
        values = [
            math.inf if trial.objective is None else self._sign * trial.objective
            for trial in trials
        ]
        median = statistics.median(values)
        return median if math.isfinite(median) else None
