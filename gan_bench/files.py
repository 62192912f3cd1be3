"""Files that survive a crash: atomic writers, JSON lines whose torn tail is harmless, digests."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import math
import os
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from omegaconf import OmegaConf

from gan_bench.errors import BusyError, GanBenchError, StorageError

_STORAGE_ERRNOS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would be larger than is allowed",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EEXIST: "a file stands where a folder is needed",
    errno.EISDIR: "a folder stands where a file is needed",
    errno.ENAMETOOLONG: "the file name is too long",
}


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals to write `path` into one clear line (StorageError)."""
    try:
        yield
    except OSError as error:
        reason = _STORAGE_ERRNOS.get(error.errno or 0)
        if reason is None:
            raise
        raise StorageError(
            f"cannot write {path}: {reason}; free or choose another place and run the same "
            "command again: what was computed before is kept"
        ) from error


def write_atomic(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file so that a reader sees the old content or the new, never a part.

    Args:
        path: The file. Its folder is made if it is missing.
        write: Called with a binary file handle.

    Raises:
        StorageError: The disk is full, read-only, or the path can't be written.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as stream:
                write(stream)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write text atomically (UTF-8)."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes atomically."""
    write_atomic(path, lambda stream: stream.write(content))


def write_json(path: Path, value: object) -> None:
    """Write indented JSON atomically; NaN and infinities become null."""
    write_text(path, json.dumps(plain(value), indent=2, allow_nan=False) + "\n")


def read_json(path: Path, *, what: str) -> Any:
    """Read a JSON file.

    Args:
        path: The file.
        what: What it is, for the error line ("result file").

    Raises:
        GanBenchError: The file is missing or is no JSON.
    """
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise GanBenchError(f"{what} {path} is missing") from None
    except (ValueError, OSError) as error:
        raise GanBenchError(f"{what} {path} is unreadable: {error}") from None


def read_yaml(path: Path, *, what: str, error: type[GanBenchError]) -> dict[str, Any]:
    """Read a YAML mapping, with numbers as OmegaConf reads them (1e-4 is one).

    Args:
        path: The file.
        what: What it is, for the message.
        error: What to raise.

    Raises:
        FileNotFoundError: There is none.
        GanBenchError: It is no YAML, or no mapping; of the class given.
    """
    try:
        content = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except FileNotFoundError:
        raise
    except Exception as fault:  # PyYAML and OmegaConf have many ways to say "no YAML"
        raise error(f"{what} {path} can't be read: {' '.join(str(fault).split())}") from None
    if not isinstance(content, dict):
        raise error(f"{what} {path} is no mapping of fields")
    return {str(key): value for key, value in content.items()}


def append_jsonl(path: Path, *records: Mapping[str, object], sync: bool = False) -> None:
    """Append JSON lines with a single write; a torn line left by a crash is closed first.

    Args:
        path: The file. Its folder is made if it is missing.
        records: The content of each line.
        sync: Force them to the disk before returning.

    Raises:
        StorageError: The disk is full, read-only, or the path can't be written.
    """
    text = "".join(json.dumps(plain(record), allow_nan=False) + "\n" for record in records)
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as stream:
            end = stream.seek(0, os.SEEK_END)
            if end:
                stream.seek(end - 1)
                if stream.read(1) != b"\n":
                    text = "\n" + text
            stream.write(text.encode())
            stream.flush()
            if sync:
                os.fsync(stream.fileno())


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read a JSON-lines file, passing over torn lines; a missing file is empty."""
    return parse_jsonl(path.read_text(errors="replace")) if path.exists() else []


def parse_jsonl(text: str) -> list[dict[str, Any]]:
    """Read JSON lines, passing over torn ones."""
    records = []
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            record = json.loads(line)
            if isinstance(record, dict):
                records.append(record)
    return records


def keep_jsonl(path: Path, keep: Callable[[dict[str, Any]], bool]) -> None:
    """Drop the records that `keep` refuses, and any torn line; a missing file stays missing."""
    if path.exists():
        kept = [json.dumps(record) + "\n" for record in read_jsonl(path) if keep(record)]
        write_text(path, "".join(kept))


@contextlib.contextmanager
def locked(path: Path, what: str, *, wait: bool = False) -> Iterator[None]:
    """Hold an exclusive lock, which the kernel frees when this process ends, however it ends.

    Args:
        path: The lock's file.
        what: What is locked, for the error line ("run results/runs/x").
        wait: Whether to wait for another process that holds it.

    Raises:
        BusyError: Another process holds it, and `wait` is false.
        StorageError: The file can't be made.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("a")
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            holder = lock_holder(path)
            named = f" (process {holder[1]} on {holder[0]})" if holder else ""
            raise BusyError(
                f"{what} is in use by another process{named}; wait for it, or stop it"
            ) from None
        with contextlib.suppress(OSError):  # the note is for people: a full disk may refuse it
            stream.truncate(0)
            stream.write(f"{socket.gethostname()} {os.getpid()}\n")
            stream.flush()
        yield


def is_locked(path: Path) -> bool:
    """Whether a process holds a lock now; also where nothing can be written."""
    try:
        with path.open() as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def lock_holder(path: Path) -> tuple[str, int] | None:
    """Return host and process id that a lock's file names: its last holder, alive or not."""
    try:
        host, pid = path.read_text().split()
        return host, int(pid)
    except (OSError, ValueError):
        return None


def plain(value: Any) -> Any:
    """Turn a value into what JSON can hold: numpy and torch scalars to Python, NaN to None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def digest(value: object, length: int = 16) -> str:
    """Hash a plain value (SHA-256 of its canonical JSON), as `length` hexadecimal digits."""
    text = json.dumps(plain(value), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def file_digest(path: Path) -> str:
    """Hash a file's bytes (SHA-256, 64 hexadecimal digits)."""
    with path.open("rb") as stream:
        sha = hashlib.sha256()
        while block := stream.read(1 << 20):
            sha.update(block)
    return sha.hexdigest()


def file_stamp(path: Path) -> list[object]:
    """Return what changes when a file does: its full path, size and time of change."""
    status = path.stat()
    return [str(path.resolve()), status.st_size, status.st_mtime_ns]


@contextlib.contextmanager
def computed_once(path: Path) -> Iterator[None]:
    """Let one process at a time make a cached file: the others wait, and then find it made.

    A cache that can't be written can't be locked either; then each process works for itself.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(StorageError, OSError):  # some file systems know no locks
            stack.enter_context(locked(path.with_suffix(".lock"), str(path), wait=True))
        yield


def cache_dir() -> Path:
    """Return the folder for what can be computed again: $GAN_BENCH_CACHE or ~/.cache/gan_bench."""
    chosen = os.environ.get("GAN_BENCH_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "gan_bench"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # some network file systems refuse to sync a folder
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
