"""Some of the images of a split."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from gan_bench.data.stream import epoch_order
from gan_bench.errors import require
from gan_bench.interfaces import ImageSplit


class SubsetSplit:
    """A fixed random choice of a split's images: the same ones for every run and seed."""

    def __init__(self, split: ImageSplit, count: int) -> None:
        """Choose the images.

        Args:
            split: All images.
            count: How many of them.

        Raises:
            ConfigError: There are not so many, or it is not above 0.
        """
        require(
            0 < count <= len(split),
            f"training.images is {count}; the data set has {len(split)} to train on",
        )
        self._split = split
        self._indices = epoch_order(len(split), 0, 0)[:count].sort().values

    @property
    def labels(self) -> Tensor | None:
        """Classes, int64 (N,), or None."""
        labels = self._split.labels
        return None if labels is None else labels[self._indices]

    @property
    def in_memory(self) -> bool:
        """Whether all images are one tensor."""
        return self._split.in_memory

    def __len__(self) -> int:
        return len(self._indices)

    def images(self, indices: Sequence[int] | Tensor) -> Tensor:
        """Return images by index, uint8 (n, C, H, W) on the CPU."""
        return self._split.images(self._indices[torch.as_tensor(indices, dtype=torch.int64)])

    def digest(self) -> str:
        """Hash the whole split's digest and the number of images chosen."""
        return hashlib.sha256(f"{self._split.digest()} {len(self)}".encode()).hexdigest()
