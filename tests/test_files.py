"""Atomic writers and tolerant readers."""

from __future__ import annotations

import errno
import multiprocessing
from pathlib import Path

import numpy as np
import pytest

from gan_bench import files
from gan_bench.errors import GanBenchError, StorageError


def test_a_failed_write_leaves_the_old_content_and_no_rubbish(tmp_path: Path):
    path = tmp_path / "a.json"
    files.write_json(path, {"a": 1})

    def fail(stream):
        stream.write(b"half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        files.write_atomic(path, fail)
    assert files.read_json(path, what="file") == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only"), (errno.EACCES, "permission")],
)
def test_refusals_of_the_disk_are_one_clear_line(tmp_path: Path, number, words):
    def refuse(stream):
        raise OSError(number, "refused")

    with pytest.raises(StorageError, match=words):
        files.write_atomic(tmp_path / "a", refuse)


def test_a_full_disk_is_one_clear_line():
    full = Path("/dev/full")  # every write to it fails with ENOSPC
    if not full.exists():
        pytest.skip("needs /dev/full")
    with pytest.raises(StorageError, match="disk is full"), files.storage_errors(full):
        full.write_text("x")


def test_other_faults_of_the_system_keep_their_traceback(tmp_path: Path):
    with pytest.raises(OSError, match="odd"), files.storage_errors(tmp_path):
        raise OSError(errno.EIO, "odd")


def test_a_file_in_the_place_of_a_folder(tmp_path: Path):
    (tmp_path / "a").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        files.write_text(tmp_path / "a" / "b", "x")


def test_jsonl_survives_a_torn_line(tmp_path: Path):
    path = tmp_path / "log.jsonl"
    files.append_jsonl(path, {"step": 1})
    with path.open("a") as stream:
        stream.write('{"step": 2, "lo')  # killed while writing
    assert files.read_jsonl(path) == [{"step": 1}]
    files.append_jsonl(path, {"step": 3})
    assert files.read_jsonl(path) == [{"step": 1}, {"step": 3}]
    files.keep_jsonl(path, lambda line: line["step"] < 3)
    assert path.read_text() == '{"step": 1}\n'


def test_numbers_become_plain_json(tmp_path: Path):
    files.write_json(tmp_path / "a", {"x": np.float64(0.5), "n": np.int64(2), "bad": float("nan")})
    assert files.read_json(tmp_path / "a", what="file") == {"x": 0.5, "n": 2, "bad": None}


def test_unreadable_json_is_named(tmp_path: Path):
    (tmp_path / "a").write_text("{")
    with pytest.raises(GanBenchError, match="result file .*a is unreadable"):
        files.read_json(tmp_path / "a", what="result file")
    with pytest.raises(GanBenchError, match="result file .*b is missing"):
        files.read_json(tmp_path / "b", what="result file")


def test_digest_depends_on_content_only():
    assert files.digest({"a": 1, "b": [1.5]}) == files.digest({"b": (1.5,), "a": 1})
    assert files.digest({"a": 1}) != files.digest({"a": 2})


def _hold(path: Path, ready, release) -> None:
    with files.locked(path, "run x"):
        ready.set()
        release.wait(30)


def test_a_lock_is_held_by_one_process_and_freed_by_its_death(tmp_path: Path):
    context = multiprocessing.get_context("spawn")
    ready, release = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(tmp_path / "lock", ready, release))
    holder.start()
    assert ready.wait(60)
    with (
        pytest.raises(GanBenchError, match="run x is in use"),
        files.locked(tmp_path / "lock", "run x"),
    ):
        pass
    holder.kill()
    holder.join()
    with files.locked(tmp_path / "lock", "run x"):
        pass
