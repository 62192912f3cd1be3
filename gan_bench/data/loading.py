"""From files to a split: which stay on the disk, which are unreadable, and a cache of pixels."""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gan_bench.data.decode import UnreadableError
from gan_bench.data.splits import FileSplit, Shape, SplitDataset, TensorSplit
from gan_bench.errors import DataError, GanBenchError, StorageError, require, unknown
from gan_bench.files import cache_dir, digest, read_json, write_atomic, write_json

UNREADABLE = ("refuse", "skip")
IN_MEMORY_LIMIT_MB = 1024
CACHE_AFTER_SECONDS = 10.0
"""Decoded pixels are kept on the disk when decoding took longer."""
_CACHE_SCHEMA = 1  # to be raised when the meaning of a cached file changes
_CHUNK = 256
_THREADS_FROM_BYTES = 16 << 10  # smaller images gain nothing: Python's share dominates


def check_loading_options(unreadable: str, in_memory_limit_mb: int) -> None:
    """Check the options that `load` takes (ConfigError)."""
    if unreadable not in UNREADABLE:
        raise unknown("policy for unreadable files", unreadable, UNREADABLE)
    require(
        in_memory_limit_mb >= 0, f"in_memory_limit_mb can't be negative, got {in_memory_limit_mb}"
    )


def load(
    split: FileSplit,
    *,
    in_memory_limit_mb: int = IN_MEMORY_LIMIT_MB,
    unreadable: str = "refuse",
) -> TensorSplit | FileSplit:
    """Decode a split into memory if it fits there, else leave it on the disk.

    Args:
        split: The files.
        in_memory_limit_mb: The most that the pixels may take in memory, in MiB.
        unreadable: "refuse": an unreadable file is an error, at once in memory, when it is drawn
            otherwise. "skip": it is left out and listed in the result's `skipped`; to know them,
            files that stay on the disk are decoded once, and the finding is cached.

    Raises:
        DataError: Files are unreadable (the message names the first and counts them), all are,
            or one has another size.
    """
    if len(split) * int(np.prod(split.image_shape)) <= in_memory_limit_mb << 20:
        return _load_in_memory(split, unreadable)
    if unreadable == "refuse":
        return split
    bad = _unreadable_names(split)
    keep = np.array([split.name(index) not in bad for index in range(len(split))])
    return _without(split, keep) if bad else split


def file_dataset(
    name: str,
    image_shape: Shape,
    names: Iterable[str],
    files: Callable[[str], FileSplit],
    in_memory_limit_mb: int,
) -> SplitDataset:
    """Return a data set without labels whose splits are files; see `SplitDataset` and `load`."""

    def make(split: str) -> TensorSplit | FileSplit:
        return load(files(split), in_memory_limit_mb=in_memory_limit_mb)

    return SplitDataset(
        name,
        image_shape,
        None,
        {split: functools.partial(make, split) for split in names},
        stamp=lambda split: files(split).digest(),
    )


def _load_in_memory(split: FileSplit, unreadable: str) -> TensorSplit:
    path = _cache_path(split, ".npy")
    pixels = _read_cache(path, (len(split), *split.image_shape))
    if pixels is not None:
        return TensorSplit(torch.from_numpy(pixels), split.labels)
    started = time.monotonic()
    pixels = np.empty((len(split), *split.image_shape), dtype=np.uint8)
    errors = _decode_all(split, pixels)
    if errors and unreadable == "refuse":
        raise _refusal(split, errors)
    if errors:
        keep = np.ones(len(split), dtype=bool)
        keep[list(errors)] = False
        rest = _without(split, keep)
        return TensorSplit(torch.from_numpy(pixels[keep]), rest.labels, skipped=rest.skipped)
    if time.monotonic() - started > CACHE_AFTER_SECONDS:
        _keep(path, pixels)
    return TensorSplit(torch.from_numpy(pixels), split.labels)


def _without(split: FileSplit, keep: np.ndarray) -> FileSplit:
    """Return the split without the files that `keep` (bool (N,)) excludes, listed as skipped."""
    if not keep.any():
        raise DataError(f"none of the {len(split)} images in {split.source.where} can be read")
    labels: Tensor | None = None
    if split.labels is not None:
        labels = split.labels[torch.from_numpy(keep)]
    return FileSplit(
        split.source,
        split.preprocessing,
        split.image_shape,
        indices=split.indices[keep],
        labels=labels,
        skipped=[split.name(int(index)) for index in np.flatnonzero(~keep)],
    )


def _decode_all(split: FileSplit, out: np.ndarray | None) -> dict[int, str]:
    """Decode every image, into `out` (uint8 (N, C, H, W)) if given; return what failed."""

    def run(indices: range) -> dict[int, str]:
        errors: dict[int, str] = {}
        for index in indices:
            try:
                pixels = split.image(index)
            except UnreadableError as error:
                errors[index] = str(error)
            else:
                if out is not None:
                    out[index] = pixels
        return errors

    chunks = [range(at, min(at + _CHUNK, len(split))) for at in range(0, len(split), _CHUNK)]
    errors: dict[int, str] = {}
    for found in _map_chunks(split, run, chunks):
        errors.update(found)
    return errors


def _map_chunks(split: FileSplit, run: object, chunks: list[range]) -> Iterator[dict[int, str]]:
    assert callable(run)
    sample = [split.source.size(int(index)) for index in split.indices[:64]]
    workers = min(16, os.cpu_count() or 1)
    if workers == 1 or sum(sample) / len(sample) < _THREADS_FROM_BYTES:
        yield from map(run, chunks)
        return
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        try:
            yield from pool.map(run, chunks)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _refusal(split: FileSplit, errors: dict[int, str]) -> DataError:
    ordered = [errors[index] for index in sorted(errors)]
    more = [split.name(index) for index in sorted(errors)[1:4]]
    also = f"; also {', '.join(more)}{', ...' if len(errors) > 4 else ''}" if more else ""
    return DataError(
        f"{len(errors)} of {len(split)} images can't be read: {ordered[0]}{also}; mend or remove "
        "them, or leave them out (image_files: unreadable=skip)"
    )


def _unreadable_names(split: FileSplit) -> set[str]:
    """Decode everything once to find unreadable files; the finding is cached."""
    path = _cache_path(split, ".unreadable.json")
    if path.exists():
        with contextlib.suppress(GanBenchError):  # a damaged cache is made anew
            names = read_json(path, what="list of unreadable files")
            if isinstance(names, list) and all(isinstance(name, str) for name in names):
                return set(names)
    bad = {split.name(index) for index in _decode_all(split, None)}
    with _optional(path):
        write_json(path, sorted(bad))
    return bad


def _cache_path(split: FileSplit, suffix: str) -> Path:
    import PIL

    # Decoders differ by a grey level between versions of the libraries that PIL carries.
    key = digest([_CACHE_SCHEMA, PIL.__version__, split.digest()], length=32)
    return cache_dir() / "datasets" / f"{key}{suffix}"


def _read_cache(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """Map a cached array, or return None if there is none, or it is torn or of another shape."""
    if not path.exists():
        return None
    try:
        # Copy-on-write: tensors want writable memory, and the file must stay as it is.
        pixels = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    sound = isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8 and pixels.shape == shape
    return pixels if sound else None


def _keep(path: Path, pixels: np.ndarray) -> None:
    with _optional(path):
        write_atomic(path, lambda stream: np.save(stream, pixels, allow_pickle=False))


@contextlib.contextmanager
def _optional(path: Path) -> Iterator[None]:
    """Let a cache that can't be written cost a warning, not the run."""
    try:
        yield
    except StorageError as error:
        warnings.warn(f"no cache of decoded images: {error}", stacklevel=2)
