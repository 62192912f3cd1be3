"""The SLURM engine without a cluster: what it asks for, and what it reads from SLURM's answers."""

from __future__ import annotations

import builtins
import os
from pathlib import Path
from typing import Any

import pytest

from gan_bench import files
from gan_bench.errors import ConfigError, EngineError, StorageError
from gan_bench.sweep.engines import slurm_queue
from gan_bench.sweep.engines.slurm import SlurmEngine, SlurmOptions

pytest.importorskip("submitit", reason="submitit is not installed")


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of SLURM's commands that answer what a test writes."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sbatch", "srun", "scancel"):
        answer(folder, name, "")
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def answer(folder: Path, name: str, text: str, code: int = 0) -> None:
    (folder / f"{name}.txt").write_text(text)
    (folder / name).write_text(f"#!/bin/sh\ncat {folder / name}.txt\nexit {code}\n")
    (folder / name).chmod(0o755)


def an_engine(tmp_path: Path, **options: Any) -> SlurmEngine:
    return SlurmEngine(tmp_path / "study", SlurmOptions(poll_seconds=0.01, **options))


def test_options_become_the_jobs_script(fake: Path, tmp_path: Path) -> None:
    from submitit.slurm.slurm import _make_sbatch_string

    engine = an_engine(
        tmp_path, partition="gpu", account="lab", qos="long", constraint="a100", gpus_per_trial=2,
        cpus_per_trial=6, memory_gb=32.5, time_minutes=90, setup=["module load cuda"],
        signal_seconds=120, extra={"exclude": "node7"},
    )  # fmt: skip
    text = _make_sbatch_string("run", tmp_path, **engine.parameters(), comment="c")
    lines = text.splitlines()
    for line in (
        "--partition=gpu", "--account=lab", "--qos=long", "--constraint=a100",
        "--gpus-per-node=2", "--cpus-per-task=6", "--mem=33280MB", "--time=90",
        "--signal=USR2@120", "--exclude=node7", "--requeue", "--comment=c",
        "--job-name=gan_bench-study",
    ):  # fmt: skip
        assert f"#SBATCH {line}" in lines
    assert lines.index("module load cuda") < lines.index("# command")
    assert engine.gpus_per_trial == 2
    assert "gpus" not in _make_sbatch_string(
        "run", tmp_path, **an_engine(tmp_path, gpus_per_trial=0).parameters()
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"slots": 0}, "engine.slots is 0; at least 1"),
        ({"time_minutes": 0}, "engine.time_minutes is 0"),
        ({"gpus_per_trial": -1}, "engine.gpus_per_trial is -1"),
        ({"poll_seconds": 0.0}, "engine.poll_seconds is 0.0; it must be above 0"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SlurmOptions(**options)


def test_what_is_missing_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="needs sbatch and srun.*login node"):
        SlurmEngine(tmp_path)
    real = builtins.__import__

    def without(name: str, *arguments: Any, **keywords: Any) -> Any:
        if name == "submitit":
            raise ImportError(name)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"pip install 'gan-bench\[slurm\]'"):
        SlurmEngine(tmp_path)


def test_the_queue_is_read_by_the_jobs_comments(tmp_path: Path) -> None:
    mine = slurm_queue.comment_of(tmp_path, ["aa", "bb", "cc"])
    other = slurm_queue.comment_of(tmp_path / "other", ["dd"])
    text = f"12_0|RUNNING|{mine}\n12_2|PENDING|{mine}\n13|RUNNING|{other}\n14|RUNNING|(null)\n"
    text += f"15|COMPLETING|{slurm_queue.comment_of(tmp_path, ['ee'])}\n"
    found = slurm_queue.parse_queue(text, slurm_queue.study_digest(tmp_path))
    assert found == {"12_0": "aa", "12_2": "cc", "15": "ee"}


def test_a_living_job_is_attached_to_whatever_the_journal_knows(fake: Path, tmp_path: Path) -> None:
    comment = slurm_queue.comment_of(tmp_path / "study", ["aa", "bb"])
    answer(fake, "squeue", f"12_1|RUNNING|{comment}\n")
    engine = an_engine(tmp_path)
    assert engine.attach(tmp_path / "study/trials/bb", None) == "12_1"
    assert engine.attach(tmp_path / "study/trials/aa", "12_0") is None
    assert engine.wait(0.05) == []
    answer(fake, "squeue", "")
    answer(fake, "scontrol", "JobId=13 JobState=NODE_FAIL Reason=None\n")
    (ended,) = engine.wait(5.0)
    assert (ended.trial_dir.name, ended.cause) == ("bb", "lost")
    assert "NODE_FAIL" in str(ended.error) and str(ended.log).endswith("jobs/12_1_0_log.err")


def test_a_controller_that_does_not_answer_loses_nothing(fake: Path, tmp_path: Path) -> None:
    comment = slurm_queue.comment_of(tmp_path / "study", ["aa"])
    answer(fake, "squeue", f"7|RUNNING|{comment}\n")
    engine = an_engine(tmp_path)
    assert engine.attach(tmp_path / "study/trials/aa", "7") == "7"
    answer(fake, "squeue", "", code=1)
    assert engine.wait(0.2) == []
    with pytest.raises(EngineError, match=r"can't be asked for the jobs of this study"):
        an_engine(tmp_path).attach(tmp_path / "study/trials/aa", "7")


@pytest.mark.parametrize(
    ("state", "job", "cause"),
    [
        ("TIMEOUT", "running", "timeout"),
        ("OUT_OF_MEMORY", "running", "out_of_memory"),
        ("PREEMPTED", "running", "preempted"),
        ("CANCELLED", "preempted", "preempted"),
        ("CANCELLED", "running", "lost"),
        ("NODE_FAIL", None, "lost"),
        ("FAILED", "running", "lost"),
        ("FAILED", "ended", "error"),
        ("", None, "lost"),
    ],
)
def test_how_a_job_ended(
    fake: Path, tmp_path: Path, state: str, job: str | None, cause: str
) -> None:
    answer(fake, "scontrol", f"JobId=7 JobState={state} ExitCode=0:9\n" if state else "")
    answer(fake, "sacct", "")
    if job is not None:
        files.write_json(tmp_path / "job.json", {"job_id": "7", "state": job})
    log = tmp_path / "log.err"
    log.write_text("Traceback ...\nRuntimeError: shapes differ\n")
    found = slurm_queue.how_it_ended(tmp_path, "7", log)
    assert found.cause == cause
    if cause in ("error",):
        assert found.error == "RuntimeError: shapes differ"
    files.write_json(tmp_path / "result.json", {})
    assert slurm_queue.how_it_ended(tmp_path, "7", log).cause is None


def test_the_accounting_is_asked_where_the_controller_has_forgotten(fake: Path) -> None:
    answer(fake, "scontrol", "slurm_load_jobs error: Invalid job id specified", code=1)
    answer(fake, "sacct", "TIMEOUT\n")
    assert slurm_queue.state_of("7") == "TIMEOUT"


def test_a_refusal_is_slurms_own_words_in_one_line(fake: Path, tmp_path: Path) -> None:
    (fake / "sbatch").write_text("#!/bin/sh\necho 'sbatch: error: invalid partition' >&2\nexit 1\n")
    engine = an_engine(tmp_path)
    with pytest.raises(EngineError, match="SLURM refuses a job: .*invalid partition") as caught:
        engine.submit(print, [tmp_path / "a"])  # type: ignore[arg-type]
    assert "\n" not in str(caught.value) and engine._jobs == {}


def test_an_arrays_comment_stays_within_slurms_limit(tmp_path: Path) -> None:
    ids = [f"{n:016x}" for n in range(slurm_queue.MOST_TOGETHER)]
    assert len(slurm_queue.comment_of(tmp_path, ids)) < 1024


@pytest.mark.parametrize(("together", "calls"), [(True, 3), (False, 120)])
def test_many_trials_are_several_arrays(
    fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, together: bool, calls: int
) -> None:
    engine = an_engine(tmp_path, array=together)
    seen: list[list[Path]] = []

    def sbatch(trial: Any, trial_dirs: list[Path]) -> list[str]:
        seen.append(trial_dirs)
        return [f"{len(seen)}_{i}" for i in range(len(trial_dirs))]

    monkeypatch.setattr(engine, "_sbatch", sbatch)
    folders = [tmp_path / f"{n:016x}" for n in range(120)]
    ids = engine.submit(print, folders)  # type: ignore[arg-type]
    assert len(seen) == calls and len(set(ids)) == 120
    assert [folder for group in seen for folder in group] == folders


def test_a_controller_that_is_away_is_waited_for(fake: Path, tmp_path: Path) -> None:
    """The first sbatch finds nobody, the second one does."""
    (fake / "sbatch").write_text(
        f"#!/bin/sh\nif [ -e {fake}/seen ]; then echo 'Submitted batch job 77'; exit 0; fi\n"
        f"touch {fake}/seen\n"
        "echo 'sbatch: error: Batch job submission failed: Unable to contact slurm controller"
        " (connect failure)' >&2\nexit 1\n"
    )
    answer(fake, "squeue", "", code=1)
    assert an_engine(tmp_path).submit(print, [tmp_path / "aa"]) == ["77"]  # type: ignore[arg-type]


def test_a_job_whose_answer_was_lost_is_not_queued_twice(fake: Path, tmp_path: Path) -> None:
    (fake / "sbatch").write_text(
        f"#!/bin/sh\necho x >> {fake}/calls\n"
        "echo 'sbatch: error: Socket timed out on send/recv operation' >&2\nexit 1\n"
    )
    comment = slurm_queue.comment_of(tmp_path / "study", ["aa"])
    answer(fake, "squeue", f"81|PENDING|{comment}\n")
    assert an_engine(tmp_path).submit(print, [tmp_path / "aa"]) == ["81"]  # type: ignore[arg-type]
    assert (fake / "calls").read_text() == "x\n"
    answer(fake, "squeue", "")
    impatient = an_engine(tmp_path, patience_minutes=0)
    with pytest.raises(EngineError, match="Socket timed out"):
        impatient.submit(print, [tmp_path / "aa"])  # type: ignore[arg-type]


def test_a_full_disk_stops_the_study_and_is_no_trials_failure(fake: Path, tmp_path: Path) -> None:
    code = slurm_queue.STORAGE_EXIT
    answer(fake, "scontrol", f"JobId=7 JobState=FAILED ExitCode={code}:0\n")
    log = tmp_path / "log.err"
    log.write_text("cannot write x: no space left on device\n")
    with pytest.raises(StorageError, match="no space left"):
        slurm_queue.how_it_ended(tmp_path, "7", log)


def test_a_driver_in_a_job_does_not_pass_its_own_limits_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "100")
    monkeypatch.setenv("SBATCH_PARTITION", "tiny")
    with slurm_queue.outside_of_a_job():
        assert "SLURM_MEM_PER_NODE" not in os.environ and "SBATCH_PARTITION" not in os.environ
        assert os.environ["SLURM_CONF"] == "/etc/slurm.conf"
    assert os.environ["SLURM_MEM_PER_NODE"] == "100"
