"""The IDX format of MNIST and Fashion-MNIST: a big-endian header, then raw bytes."""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import zlib
from pathlib import Path

import torch
from torch import Tensor

from gan_bench.errors import DataError

_UNSIGNED_BYTES = 0x08


def read_bytes(path: Path) -> bytes:
    """Read a file, unpacked if its name ends in .gz.

    Raises:
        DataError: It can't be read, or the gzip is corrupt or truncated.
    """
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if path.suffix == ".gz" else data
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is corrupt or truncated ({error}); get it again") from None
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror}") from None


def parse(data: bytes, path: Path, dimensions: int) -> Tensor:
    """Parse an IDX file of unsigned bytes.

    Args:
        data: Its (unpacked) content.
        path: What to call it in an error.
        dimensions: How many it must have: 3 for images (N, H, W), 1 for labels (N,).

    Returns:
        uint8 tensor.

    Raises:
        DataError: The header is another, or the content is shorter or longer than it says.
    """
    header = 4 + 4 * dimensions
    magic = bytes((0, 0, _UNSIGNED_BYTES, dimensions))
    if data[:4] != magic or len(data) < header:
        raise DataError(f"{path} is no IDX file of {dimensions}-dimensional bytes; get it again")
    shape = struct.unpack(f">{dimensions}I", data[4:header])
    if len(data) != header + math.prod(shape):
        raise DataError(
            f"{path} is truncated or damaged: {len(data)} bytes where its header says "
            f"{header + math.prod(shape)}; get it again"
        )
    return torch.frombuffer(bytearray(data), dtype=torch.uint8, offset=header).reshape(shape)


def md5(data: bytes) -> str:
    """Return the MD5 by which data sets are published (no protection against malice)."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
