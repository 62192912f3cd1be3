"""Starts a changed study with what an earlier one has measured."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from gan_bench import config as configs
from gan_bench import files
from gan_bench.errors import ConfigError, GanBenchError, StudyError
from gan_bench.sweep.store import JOURNAL, Trial, TrialStore
from gan_bench.sweep.study import Cell, Study, read_study, save_study


def fork_study(study: Study, study_dir: Path, earlier_dir: Path) -> tuple[int, int]:
    """Begin a study directory with the finished trials of another that the study has too.

    A trial is taken over if its cell is there, its settings are among the cell's fixed ones or in
    its space, and its resolved config is still the same in all that decides a result. Its files
    are copied, its checkpoints hard-linked where the file system allows it.

    Args:
        study: The changed study.
        study_dir: A directory without a study.
        earlier_dir: The study directory to take trials from; it is not changed.

    Returns:
        How many trials were taken over, and of how many finished ones.

    Raises:
        StudyError: There is a study in `study_dir` already, or none in `earlier_dir`.
        StorageError: `study_dir` can't be written.
    """
    read_study(earlier_dir)
    if (study_dir / JOURNAL).exists():
        raise StudyError(
            f"{study_dir} holds a study that has begun; fork into a new study_dir, or leave out "
            "fork to go on with it"
        )
    earlier = TrialStore(earlier_dir)
    finished = [trial for trial in earlier.trials.values() if trial.finished]
    with files.locked(study_dir / ".lock", f"study {study_dir}"), files.storage_errors(study_dir):
        save_study(study, study_dir)
        store = TrialStore(study_dir)
        taken = sum(
            _take_over(study, store, cell, group, earlier)
            for cell in study.cells
            for group in earlier.settings_of(cell.name)
        )
    return taken, len(finished)


def _take_over(
    study: Study, store: TrialStore, cell: Cell, group: Sequence[Trial], earlier: TrialStore
) -> int:
    """Take the trials of one setting over; return how many could be."""
    settings = group[0].settings
    if group[0].axes != cell.axes:
        return 0
    if settings in cell.fixed:
        source, index, seeds = "fixed", cell.fixed.index(settings), study.seeds
    elif settings in cell.space:
        source, index, seeds = "bandit", _next_index(store, cell), study.bandit.seeds
    else:
        return 0
    taken = 0
    for trial in group:
        if trial.finished and trial.seed in seeds:
            copy = study.trial(cell, settings, source, index, trial.seed)
            taken += _copy(study, store, trial, copy, earlier.folder(trial.trial_id))
    return taken


def _next_index(store: TrialStore, cell: Cell) -> int:
    index = 0
    while store.group(cell.name, "bandit", index):
        index += 1
    return index


def _copy(study: Study, store: TrialStore, trial: Trial, copy: Trial, source: Path) -> bool:
    """Copy one trial, if it would be the same trial now."""
    folder = store.folder(copy.trial_id)
    try:
        config = study.config(copy, folder)
        before = configs.load(source / "config.yaml")
        result = files.read_json(source / "result.json", what="result file")
    except (ConfigError, GanBenchError):  # refused settings, or a damaged trial: run it again
        return False
    if configs.differences(configs.identity(before), configs.identity(config)):
        return False
    shutil.copytree(source, folder, copy_function=_link, dirs_exist_ok=True)
    configs.save(config, folder / "config.yaml")
    files.write_json(folder / "result.json", {**result, "trial_id": copy.trial_id})
    store.propose([copy])
    store.finish(
        copy.trial_id,
        str(trial.status),
        objective=study.objective.value(result),
        metrics=trial.metrics,
        error=trial.error,
    )
    return True


def _link(source: str, target: str) -> str:
    """Link what is only ever replaced (checkpoints); copy what may be appended to."""
    if source.endswith(".pt"):
        try:
            os.link(source, target)
            return target
        except OSError:
            pass  # another file system, or one without links
    return str(shutil.copy2(source, target))
