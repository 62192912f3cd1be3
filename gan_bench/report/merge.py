"""Several study directories as one: parts of a study that ran on other machines or days."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from gan_bench.errors import StudyError
from gan_bench.report.naming import family
from gan_bench.report.study import FINISHED, Study, read_study
from gan_bench.report.trial import CellPlan, Objective, Trial


def read_studies(folders: Sequence[Path]) -> Study:
    """Read study directories into one study.

    A trial that several hold (same id: same study, settings and seed) counts once: the completed
    one, else the one that ended. Cells of one name are one cell.

    Args:
        folders: At least one; all must have the same objective.

    Raises:
        StudyError: One is no study, or their objectives differ.
    """
    studies = [read_study(folder) for folder in folders]
    if len(studies) == 1:
        return studies[0]
    first = studies[0]
    objective = first.objective
    for study in studies[1:]:
        if _kind(study.objective) != _kind(objective):
            raise StudyError(
                f"{study.folder} optimizes {study.objective.metric} ({study.objective.at}), "
                f"{first.folder} {objective.metric} ({objective.at}): they can't be one report"
            )
        if study.objective.metric != objective.metric:  # fid_digits_cnn and fid_mnist_cnn
            stem = family(objective.metric) or objective.metric
            objective = dataclasses.replace(objective, metric=stem)
    trials: dict[str, Trial] = {}
    cells: dict[str, CellPlan] = {}
    baselines = {}
    for study in studies:
        for plan in study.cells:
            cells.setdefault(plan.name, plan)
        for trial in study.trials:
            known = trials.get(trial.trial_id)
            if known is None or _worth(trial) > _worth(known):
                trials[trial.trial_id] = trial
        for name, metrics in study.baselines.items():
            baselines[f"{name}@{study.folder}"] = metrics
    problems = [f"{study.folder}: {problem}" for study in studies for problem in study.problems]
    return Study(
        folder=first.folder,
        name=" + ".join(dict.fromkeys(study.name for study in studies)),
        objective=objective,
        base=tuple(item for item in first.base if all(item in s.base for s in studies)),
        cells=list(cells.values()),
        trials=list(trials.values()),
        baselines=baselines,
        problems=problems,
    )


def _kind(objective: Objective) -> tuple[str, str, str]:
    return family(objective.metric) or objective.metric, objective.mode, objective.at


def _worth(trial: Trial) -> int:
    return 2 if trial.ranked else 1 if trial.status in FINISHED else 0
