"""Images in an LMDB, as LSUN is distributed; needs the package lmdb."""

from __future__ import annotations

import contextlib
import importlib
import os
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gan_bench.data.decode import UnreadableError
from gan_bench.errors import DataError


class LmdbSource:
    """The values of an LMDB environment, in key order."""

    def __init__(self, path: Path) -> None:
        """List the keys.

        Args:
            path: The folder that holds data.mdb.

        Raises:
            DataError: The package lmdb is missing, or the folder is no LMDB environment.
        """
        self.path = path
        self.where = str(path)
        self._opened: _Environment | None = None
        with _one_line(path):
            status = (path / "data.mdb").stat()
            with self._environment().begin(buffers=True) as transaction:
                keys = [bytes(key) for key in transaction.cursor().iternext(values=False)]
        self._version = f"{status.st_size} {status.st_mtime_ns}"
        # An array of bytes: millions of Python objects would be copied page by page after a fork.
        self._keys = np.array(keys, dtype=np.bytes_)

    def _environment(self) -> Any:
        if self._opened is None or self._opened.process != os.getpid():
            self._opened = _open(self.path)
        return self._opened.environment

    def __getstate__(self) -> dict[str, Any]:
        """Leave the environment out: another process opens its own."""
        return {**self.__dict__, "_opened": None}

    def __len__(self) -> int:
        return len(self._keys)

    def name(self, position: int) -> str:
        """Return the key."""
        return bytes(self._keys[position]).decode(errors="replace")

    def path_of(self, position: int) -> str:
        """Return the environment's path and the key."""
        return f"{self.path}: {self.name(position)}"

    def size(self, position: int) -> int:
        """Return the value's size."""
        return len(self.read(position))

    def read(self, position: int) -> bytes:
        """Read a value."""
        with _one_line(self.path), self._environment().begin() as transaction:
            value = transaction.get(bytes(self._keys[position]))
        if value is None:
            raise UnreadableError(f"{self.path_of(position)} is gone")
        return bytes(value)

    def fingerprint(self, position: int) -> str:
        """Return the key, and the database file's size and time of change."""
        return f"{self.name(position)} {self._version}"


class _Environment:
    """An open environment and the process that opened it."""

    def __init__(self, path: str) -> None:
        self.process = os.getpid()
        self.environment = _import_lmdb().open(path, readonly=True, lock=False, readahead=False)


# LMDB opens no environment twice in a process: all sources of a process share it, and a process
# that inherits one across a fork, where it may not be used, closes it before opening its own.
_ENVIRONMENTS: weakref.WeakValueDictionary[str, _Environment] = weakref.WeakValueDictionary()


def _open(path: Path) -> _Environment:
    key = os.path.realpath(path)
    shared = _ENVIRONMENTS.get(key)
    if shared is not None and shared.process == os.getpid():
        return shared
    if shared is not None:
        shared.environment.close()
    opened = _ENVIRONMENTS[key] = _Environment(key)
    return opened


@contextlib.contextmanager
def _one_line(path: Path) -> Iterator[None]:
    lmdb = _import_lmdb()
    try:
        yield
    except (lmdb.Error, OSError) as error:
        raise DataError(f"{path} can't be read as an LMDB: {error}") from None


def _import_lmdb() -> Any:
    try:
        return importlib.import_module("lmdb")
    except ImportError:
        raise DataError(
            "reading LSUN needs the package lmdb; install it: pip install lmdb"
        ) from None
