"""What a set of images is: digest, number and shape, remembered as long as its files don't change.

So a second evaluation against a reference that is cached reads none of its images.
"""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass
from pathlib import Path

from gan_bench.errors import GanBenchError
from gan_bench.evaluation.sources import ImageSource
from gan_bench.files import cache_dir, digest, read_json, write_json

_SCHEMA = 1


@dataclass(frozen=True)
class Identity:
    """A set of images, told apart from any other."""

    digest: str
    """Of the content."""
    count: int
    """Number of images."""
    shape: tuple[int, int, int]
    """(C, H, W) of the first."""


def identify(source: ImageSource, *, remember: bool = True) -> Identity:
    """Return what a source is; its images are read only if that isn't remembered.

    Args:
        source: The images.
        remember: Whether the answer is looked up and kept on disk.

    Raises:
        DataError: An image is unreadable.
    """
    path = _path(source) if remember else None
    known = None if path is None else _read(path)
    if known is not None:
        return known
    channels, height, width = source.images([0]).shape[1:]
    found = Identity(source.digest(), len(source), (channels, height, width))
    if path is not None:
        with contextlib.suppress(GanBenchError):  # a disk that refuses costs time, nothing else
            write_json(path, {"schema": _SCHEMA, **asdict(found)})
    return found


def _path(source: ImageSource) -> Path | None:
    tell = getattr(source, "fingerprint", None)
    return None if tell is None else cache_dir() / "identities" / f"{digest(tell(), 32)}.json"


def _read(path: Path) -> Identity | None:
    if not path.exists():
        return None
    try:
        content = read_json(path, what="identity of images")
        if content["schema"] != _SCHEMA:
            return None
        channels, height, width = content["shape"]
        shape = (int(channels), int(height), int(width))
        return Identity(str(content["digest"]), int(content["count"]), shape)
    except (GanBenchError, KeyError, TypeError, ValueError):  # damaged: made anew
        return None
