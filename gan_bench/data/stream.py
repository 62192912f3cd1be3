"""Endless, shuffled, exactly resumable training batches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from gan_bench.data.pixels import to_float
from gan_bench.errors import DataError, require
from gan_bench.interfaces import ImageSplit


def epoch_order(count: int, seed: int, epoch: int) -> Tensor:
    """Return the order of an epoch: a permutation of 0..count-1, int64 (count,), on the CPU.

    It depends on nothing but the arguments: the generator's seed is a hash (SHA-256) of both.
    """
    text = f"gan_bench stream {seed} {epoch}".encode()
    hashed = int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1
    return torch.randperm(count, generator=torch.Generator().manual_seed(hashed))


class BatchStream:
    """Endless training batches whose whole state is the number of images drawn.

    With N images, image k of the stream is image perm[k % N] of the split, perm being the order
    of epoch k // N: batches run across epochs, and no image is lost. Splits in memory lie on the
    device as uint8; others are decoded, ahead of time if there are loader processes. What comes
    out is the same for both, and for any number of processes.

    Example:
        >>> with BatchStream(dataset.split("train"), 64, seed=0, device="cuda") as stream:
        ...     images, labels = stream.next()
        ...     saved = stream.position  # later: stream.seek(saved)
    """

    def __init__(
        self,
        split: ImageSplit,
        batch_size: int,
        seed: int,
        device: torch.device | str,
        *,
        workers: int = 0,
    ) -> None:
        """Start at position 0.

        Args:
            split: The images.
            batch_size: Images in each batch; may exceed the split.
            seed: Of the order.
            device: Where the batches are wanted.
            workers: Loader processes for a split that is not in memory; 0 decodes in this one.

        Raises:
            ConfigError: batch_size or workers is out of range.
        """
        require(batch_size > 0, f"batch_size must be positive, got {batch_size}")
        require(workers >= 0, f"the number of loader processes can't be negative, got {workers}")
        self._split = split
        self._batch_size = batch_size
        self._seed = seed
        self._device = torch.device(device)
        self._workers = workers
        self._position = 0
        self._loader: Iterator[Tensor | str] | None = None
        self._closed = False
        self._pixels: Tensor | None = None
        if split.in_memory:
            tensor = getattr(split, "tensor", None)
            whole = split.images(range(len(split))) if tensor is None else tensor
            self._pixels = whole.to(self._device)
        labels = split.labels
        self._labels = None if labels is None else labels.to(self._device)
        self._orders: dict[int, Tensor] = {}

    @property
    def position(self) -> int:
        """Images drawn so far."""
        return self._position

    def seek(self, position: int) -> None:
        """Continue as if `position` images had been drawn.

        Raises:
            ConfigError: It is negative.
        """
        require(position >= 0, f"a stream's position can't be negative, got {position}")
        if position != self._position:
            self._stop()
        self._position = position

    def next(self) -> tuple[Tensor, Tensor | None]:
        """Return the next batch.

        Returns:
            Images, float32 (batch_size, C, H, W) in [-1, 1], and labels, int64 (batch_size,), or
            None, both on the device.

        Raises:
            DataError: An image can't be read; the position stays before its batch.
            RuntimeError: The stream is closed.
        """
        if self._closed:
            raise RuntimeError("the batch stream is closed")
        indices = self._indices(self._position)
        if self._pixels is not None:
            pixels = self._pixels[indices]
        else:
            pixels = self._next_from_loader().to(self._device, non_blocking=True)
        labels = None if self._labels is None else self._labels[indices]
        self._position += self._batch_size
        return to_float(pixels), labels

    def share_images(self, other: BatchStream) -> None:
        """Use the images that another stream of the same split holds, and none of its own."""
        self._pixels = other._pixels

    @staticmethod
    def next_of(streams: Sequence[BatchStream]) -> Tensor:
        """Return the next images of streams that share theirs, (K, batch_size, C, H, W).

        The same as `next` of each, with a single look-up.
        """
        pixels = streams[0]._pixels
        if pixels is None:
            return torch.stack([stream.next()[0] for stream in streams])
        indices = torch.cat([stream._indices(stream._position) for stream in streams])
        for stream in streams:
            stream._position += stream._batch_size
        images = to_float(pixels[indices])
        return images.view(len(streams), -1, *images.shape[1:])

    def close(self) -> None:
        """End the loader processes; the stream can't be used any more. Closing again is allowed."""
        self._stop()
        self._closed = True

    def __enter__(self) -> BatchStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _order(self, epoch: int) -> Tensor:
        """Return an epoch's order, int64 (N,), on the device, sent there once an epoch."""
        if epoch not in self._orders:
            # Two are enough for a batch that runs across.
            self._orders = {key: order for key, order in self._orders.items() if key == epoch - 1}
            order = epoch_order(len(self._split), self._seed, epoch)
            self._orders[epoch] = order.to(self._device)
        return self._orders[epoch]

    def _indices(self, position: int) -> Tensor:
        """Return the images of the batch that begins at a position, int64, on the device."""
        parts, count, wanted = [], len(self._split), self._batch_size
        while wanted:
            epoch, at = divmod(position, count)
            part = self._order(epoch)[at : at + wanted]
            parts.append(part)
            position, wanted = position + len(part), wanted - len(part)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _next_from_loader(self) -> Tensor:
        if self._loader is None:
            self._loader = iter(
                DataLoader(
                    _Batches(self._split),
                    batch_sampler=_Order(self._split, self._batch_size, self._seed, self._position),
                    collate_fn=_unchanged,
                    num_workers=self._workers,
                    prefetch_factor=4 if self._workers else None,
                    pin_memory=self._device.type == "cuda",
                    # Its own, unused: else the loader would draw from torch's global generator.
                    generator=torch.Generator(),
                )
            )
        try:
            batch = next(self._loader)
        except BaseException:
            self._stop()  # what was prefetched no longer fits the position
            raise
        if isinstance(batch, str):
            self._stop()
            raise DataError(batch)
        return batch

    def _stop(self) -> None:
        loader, self._loader = self._loader, None
        shutdown: Any = getattr(loader, "_shutdown_workers", None)
        if shutdown is not None:  # at once, rather than when the iterator happens to be collected
            shutdown()


class _Batches(Dataset[Any]):
    """What runs in the loader processes: a list of indices in, a uint8 batch out."""

    def __init__(self, split: ImageSplit) -> None:
        self._split = split

    def __getitems__(self, indices: list[int]) -> Tensor | str:
        try:
            return self._split.images(indices)
        except DataError as error:  # raised there, it would arrive wrapped in a traceback
            return str(error)


class _Order(Sampler[list[int]]):
    """The batches of indices from a position on, without end."""

    def __init__(self, split: ImageSplit, batch_size: int, seed: int, position: int) -> None:
        self._count = len(split)
        self._batch_size = batch_size
        self._seed = seed
        self._position = position

    def __iter__(self) -> Iterator[list[int]]:
        epoch, at = divmod(self._position, self._count)
        batch: list[int] = []
        while True:
            order = epoch_order(self._count, self._seed, epoch)[at:].tolist()
            for index in order:
                batch.append(index)
                if len(batch) == self._batch_size:
                    yield batch
                    batch = []
            epoch, at = epoch + 1, 0


def _unchanged(batch: Any) -> Any:
    return batch
