"""Where encoded images come from: a folder or a zip, both safe in loader processes."""

from __future__ import annotations

import contextlib
import os
import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np

from gan_bench.data.decode import UnreadableError
from gan_bench.errors import DataError

EXTENSIONS = frozenset(
    [".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"]
)
MAX_MEMBER_BYTES = 256 << 20
"""Larger zip members are refused: a few kilobytes can claim to unpack to terabytes."""


class ImageSource(Protocol):
    """Encoded images by position, in the order of their names."""

    @property
    def where(self) -> str:
        """What to call the whole in messages."""
        ...

    def __len__(self) -> int:
        """Return the number of images."""
        ...

    def name(self, position: int) -> str:
        """Return an image's name, with forward slashes."""
        ...

    def path_of(self, position: int) -> str:
        """Return what to call an image in messages: the path of the whole and its name."""
        ...

    def size(self, position: int) -> int:
        """Return the number of encoded bytes (0 if the file is gone)."""
        ...

    def read(self, position: int) -> bytes:
        """Return an image's bytes (UnreadableError if they can't be read)."""
        ...

    def fingerprint(self, position: int) -> str:
        """Return a line that changes when the image does."""
        ...


def is_image_name(name: str) -> bool:
    """Tell whether a path is an image by its extension; hidden and __MACOSX parts are not."""
    parts = PurePosixPath(name).parts
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    return not hidden and PurePosixPath(name).suffix.lower() in EXTENSIONS


def open_images(path: Path) -> FolderSource | ZipSource:
    """Open a folder or zip of images.

    Raises:
        DataError: It is missing, is neither, or holds no images.
    """
    source: FolderSource | ZipSource
    if os.path.isdir(path):  # unlike Path's, these don't raise where a parent may not be entered
        source = FolderSource(path)
    elif not os.path.exists(path):
        raise DataError(f"{path} is missing; give a folder or a zip of images as root")
    elif zipfile.is_zipfile(path):
        source = ZipSource(path)
    else:
        raise DataError(f"{path} is neither a folder nor a readable zip file")
    if not len(source):
        raise DataError(f"{path} holds no images ({' '.join(sorted(EXTENSIONS))})")
    return source


class FolderSource:
    """The images of a folder and its sub-folders, links included, sorted by relative path."""

    def __init__(self, root: Path, names: Sequence[str] | None = None) -> None:
        """List the images.

        Args:
            root: The folder.
            names: Paths relative to it, in the order wanted, instead of all.

        Raises:
            DataError: The folder can't be read.
        """
        self.root = root
        self.where = str(root)
        self._names = sorted(_walk(root)) if names is None else list(names)

    def __len__(self) -> int:
        return len(self._names)

    def name(self, position: int) -> str:
        """Return the path within the folder."""
        return self._names[position]

    def path_of(self, position: int) -> str:
        """Return the file's path."""
        return str(self.root / self._names[position])

    def size(self, position: int) -> int:
        """Return the file's size."""
        with contextlib.suppress(OSError):
            return (self.root / self._names[position]).stat().st_size
        return 0

    def read(self, position: int) -> bytes:
        """Read the file."""
        try:
            return (self.root / self._names[position]).read_bytes()
        except OSError as error:
            reason = error.strerror or str(error)
            raise UnreadableError(f"{self.path_of(position)} is unreadable: {reason}") from None

    def fingerprint(self, position: int) -> str:
        """Return name, size and time of change."""
        name = self._names[position]
        try:
            status = (self.root / name).stat()
        except OSError:
            return f"{name} missing"
        return f"{name} {status.st_size} {status.st_mtime_ns}"


def _walk(root: Path) -> list[str]:
    """Return the images' paths relative to the root, following links but no circle of them."""
    found: list[str] = []
    pending: list[tuple[str, tuple[str, ...]]] = [("", (os.path.realpath(root),))]
    while pending:
        prefix, ancestors = pending.pop()
        try:
            with os.scandir(root / prefix) as entries:
                listed = list(entries)
        except OSError as error:
            raise DataError(f"folder {root / prefix} can't be read: {error.strerror}") from None
        for entry in listed:
            name = prefix + entry.name
            if entry.is_dir():
                real = os.path.realpath(entry.path)
                if not (
                    entry.name.startswith(".") or entry.name == "__MACOSX" or real in ancestors
                ):
                    pending.append((name + "/", (*ancestors, real)))
            elif is_image_name(name):
                found.append(name)
    return found


class ZipSource:
    """The images of a zip (members stored or deflated), sorted by name.

    Members are read at their offsets with `os.pread`, which shares no file position: threads and
    forked processes can use one descriptor, and the directory is parsed once, not per process.
    """

    def __init__(self, path: Path, names: Sequence[str] | None = None) -> None:
        """Read the zip's directory.

        Args:
            path: The zip.
            names: Members in the order wanted, instead of all images sorted by name.

        Raises:
            DataError: It is no readable zip, or a member wanted is missing, encrypted,
                compressed by another method, or implausibly large.
        """
        self.path = path
        self.where = str(path)
        self._file: int | None = None
        try:
            with zipfile.ZipFile(path) as archive:
                members = {info.filename: info for info in archive.infolist()}
        except (OSError, zipfile.BadZipFile, ValueError) as error:
            raise DataError(f"zip {path} can't be read: {error}") from None
        if names is None:
            names = sorted(name for name in members if is_image_name(name))
        if missing := [name for name in names if name not in members]:
            raise DataError(f"zip {path} lacks {len(missing)} members, the first: {missing[0]}")
        self._names = list(names)
        chosen = [members[name] for name in self._names]
        for info in chosen:
            self._check(info)
        self._offset = np.array([info.header_offset for info in chosen], dtype=np.int64)
        self._packed = np.array([info.compress_size for info in chosen], dtype=np.int64)
        self._size = np.array([info.file_size for info in chosen], dtype=np.int64)
        self._crc = np.array([info.CRC for info in chosen], dtype=np.int64)
        self._deflated = np.array([info.compress_type == zipfile.ZIP_DEFLATED for info in chosen])
        self._open()

    def _check(self, info: zipfile.ZipInfo) -> None:
        reason = ""
        if info.flag_bits & 0x1:
            reason = "is encrypted"
        elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            reason = f"is compressed by method {info.compress_type}, not stored or deflated"
        elif info.file_size > MAX_MEMBER_BYTES or info.compress_size > MAX_MEMBER_BYTES:
            reason = f"claims {info.file_size} bytes, more than {MAX_MEMBER_BYTES}"
        if reason:
            raise DataError(f"zip {self.path}: {info.filename} {reason}; make the zip anew")

    def __len__(self) -> int:
        return len(self._names)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the descriptor out: a spawned process opens its own."""
        return {**self.__dict__, "_file": None}

    def __del__(self) -> None:
        if getattr(self, "_file", None) is not None:
            with contextlib.suppress(OSError):
                os.close(self._file)  # type: ignore[arg-type]

    def name(self, position: int) -> str:
        """Return the member's name."""
        return self._names[position]

    def path_of(self, position: int) -> str:
        """Return the zip's path and the member's name."""
        return f"{self.path}: {self._names[position]}"

    def size(self, position: int) -> int:
        """Return the member's unpacked size."""
        return int(self._size[position])

    def read(self, position: int) -> bytes:
        """Read, unpack and check a member."""
        size = int(self._size[position])
        try:
            data = self._packed_bytes(int(self._offset[position]), int(self._packed[position]))
            if self._deflated[position]:
                # One byte more than claimed is asked for: enough to see a false claim.
                data = zlib.decompressobj(-15).decompress(data, size + 1)
        except (OSError, zlib.error, struct.error) as error:
            raise self._unreadable(position, str(error)) from None
        if len(data) != size or zlib.crc32(data) != int(self._crc[position]):
            raise self._unreadable(position, "its checksum doesn't match")
        return data

    def _open(self) -> int:
        if self._file is None:
            self._file = os.open(self.path, os.O_RDONLY)
        return self._file

    def _packed_bytes(self, offset: int, size: int) -> bytes:
        file = self._open()
        header = os.pread(file, 30, offset)
        signature, name_length, extra_length = struct.unpack("<4s22xHH", header)
        if signature != b"PK\x03\x04":
            raise struct.error("its header is damaged")
        start = offset + 30 + name_length + extra_length
        blocks: list[bytes] = []
        while size > 0 and (block := os.pread(file, size, start)):
            blocks.append(block)
            start, size = start + len(block), size - len(block)
        return b"".join(blocks)

    def _unreadable(self, position: int, reason: str) -> UnreadableError:
        return UnreadableError(f"{self.path_of(position)} is unreadable: {reason}")

    def fingerprint(self, position: int) -> str:
        """Return name, unpacked size and checksum."""
        return f"{self._names[position]} {self._size[position]} {self._crc[position]:08x}"
