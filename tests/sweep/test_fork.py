"""A changed study takes over what stays what it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from analytic_trial import CONTENT, analytic_trial, small_study

from gan_bench import config as configs
from gan_bench import files
from gan_bench.errors import StudyError
from gan_bench.sweep import Study, fork_study, read_trials, run_study
from gan_bench.sweep.engines.inline import InlineEngine


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("earlier")
    run_study(small_study(), folder, engine=InlineEngine(), trial=analytic_trial)
    for run_dir in (folder / "trials").iterdir():
        files.write_bytes(run_dir / "checkpoints" / "best.pt", b"weights")
        files.append_jsonl(run_dir / "evaluations.jsonl", {"step": 1})
    return folder


def with_space(**changes: Any) -> Study:
    settings = CONTENT["settings"]
    return small_study(settings={**settings, "space": {**settings["space"], **changes}})


def test_a_wider_space_keeps_every_trial(tmp_path: Path, earlier: Path) -> None:
    study = with_space(**{"optimizer.beta1": "interval(0, 0.95)"})
    with pytest.raises(StudyError, match=r"beta1.*with fork=OLD_STUDY_DIR"):
        run_study(study, earlier, engine=InlineEngine(), trial=analytic_trial)
    assert fork_study(study, tmp_path, earlier) == (8, 8)
    before, after = read_trials(earlier), read_trials(tmp_path)
    assert {(t.trial_id, t.objective) for t in after} == {(t.trial_id, t.objective) for t in before}
    run_dir = tmp_path / "trials" / before[0].trial_id
    old = earlier / "trials" / before[0].trial_id
    assert (run_dir / "checkpoints/best.pt").samefile(old / "checkpoints/best.pt")
    assert not (run_dir / "evaluations.jsonl").samefile(old / "evaluations.jsonl")
    assert configs.load(run_dir / "config.yaml").run_dir == str(run_dir)
    summary = run_study(study, tmp_path, engine=InlineEngine(), trial=analytic_trial)
    assert summary.statuses["completed"] == 8


@pytest.mark.slow
def test_what_lies_outside_or_changed_is_run_again(tmp_path: Path, earlier: Path) -> None:
    searched = [t.settings["optimizer.lr"] for t in read_trials(earlier) if t.source == "bandit"]
    study = with_space(**{"optimizer.lr": f"tag(log, interval(1e-5, {sorted(searched)[1]}))"})
    taken, finished = fork_study(study, tmp_path / "narrow", earlier)
    assert finished == 8 and 4 <= taken < 8
    run_study(study, tmp_path / "narrow", engine=InlineEngine(), trial=analytic_trial)
    assert len(read_trials(tmp_path / "narrow")) == 8
    longer = small_study(base=[*CONTENT["base"], "training.steps=7"])
    assert fork_study(longer, tmp_path / "longer", earlier) == (0, 8)
    elsewhere = small_study(base=[*CONTENT["base"][:2], "device=auto"])
    assert fork_study(elsewhere, tmp_path / "device", earlier) == (8, 8)
    renamed = small_study(name="renamed", cells={"loss": ["wasserstein", "hinge"]})
    assert fork_study(renamed, tmp_path / "renamed", earlier) == (4, 8)
    for trial in read_trials(tmp_path / "renamed"):
        result = files.read_json(
            tmp_path / "renamed" / "trials" / trial.trial_id / "result.json", what="result"
        )
        assert result["trial_id"] == trial.trial_id and trial.cell == "wasserstein"


def test_a_study_that_has_begun_is_not_forked_into(tmp_path: Path, earlier: Path) -> None:
    fork_study(small_study(), tmp_path, earlier)
    with pytest.raises(StudyError, match="has begun; fork into a new study_dir"):
        fork_study(small_study(), tmp_path, earlier)
    with pytest.raises(StudyError, match="is missing"):
        fork_study(small_study(), tmp_path / "new", tmp_path / "nothing")
