"""The two kinds of split, and the data set that holds them.

`TensorSplit` keeps all its images as one uint8 tensor; `FileSplit` decodes an image when it is
asked for. Both are what `gan_bench.interfaces.ImageSplit` describes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from gan_bench.data.decode import Preprocessing, decode
from gan_bench.data.sources import ImageSource
from gan_bench.errors import DataError, unknown
from gan_bench.files import digest
from gan_bench.interfaces import ImageSplit

Shape = tuple[int, int, int]


class TensorSplit:
    """Images that are one uint8 tensor in memory."""

    in_memory = True

    def __init__(
        self, images: Tensor, labels: Tensor | None = None, *, skipped: Sequence[str] = ()
    ) -> None:
        """Hold the images.

        Args:
            images: uint8 (N, C, H, W), N at least 1.
            labels: Classes, integers (N,), or None.
            skipped: Names of files that were unreadable and left out.

        Raises:
            DataError: The type or shape of the images or the labels is another.
        """
        if images.dtype != torch.uint8 or images.ndim != 4 or not len(images):
            raise DataError(
                "a split needs uint8 images (N, C, H, W) with N > 0, got "
                f"{images.dtype} {tuple(images.shape)}"
            )
        if labels is not None and labels.shape != images.shape[:1]:
            raise DataError(f"{len(images)} images but labels of shape {tuple(labels.shape)}")
        self.tensor = images
        self.skipped = tuple(skipped)
        self._labels = None if labels is None else labels.to(torch.int64)
        self._digest: str | None = None

    @property
    def labels(self) -> Tensor | None:
        """Classes, int64 (N,), or None."""
        return self._labels

    def __len__(self) -> int:
        return len(self.tensor)

    def images(self, indices: Sequence[int] | Tensor) -> Tensor:
        """Return images by index, uint8 (n, C, H, W) on the CPU."""
        return self.tensor[torch.as_tensor(indices, dtype=torch.int64)]

    def digest(self) -> str:
        """Hash shape, pixels and labels (SHA-256); computed once."""
        if self._digest is None:
            sha = hashlib.sha256(repr(tuple(self.tensor.shape)).encode())
            sha.update(np.ascontiguousarray(self.tensor.numpy()).data)
            sha.update(_label_bytes(self._labels))
            self._digest = sha.hexdigest()
        return self._digest


class FileSplit:
    """Images in files, decoded when they are asked for; safe to use in loader processes."""

    in_memory = False

    def __init__(
        self,
        source: ImageSource,
        preprocessing: Preprocessing,
        image_shape: Shape,
        *,
        indices: Sequence[int] | np.ndarray | None = None,
        labels: Tensor | None = None,
        skipped: Sequence[str] = (),
    ) -> None:
        """Choose images of a source.

        Args:
            source: Where the encoded images are.
            preprocessing: What is done with each after decoding.
            image_shape: (C, H, W) that each must then have.
            indices: Positions in the source, in the split's order; None for all.
            labels: Classes, integers (N,), in the split's order, or None.
            skipped: Names of files that are unreadable and not among the indices.

        Raises:
            DataError: There are no images, or not as many labels as images.
        """
        chosen = range(len(source)) if indices is None else indices
        self.source = source
        self.preprocessing = preprocessing
        self.image_shape = image_shape
        self.indices = np.asarray(chosen, dtype=np.int64)
        self.skipped = tuple(skipped)
        self._labels = None if labels is None else labels.to(torch.int64)
        self._digest: str | None = None
        if not len(self.indices):
            raise DataError(f"{source.where} has no images for this split")
        if labels is not None and len(labels) != len(self.indices):
            raise DataError(f"{len(self.indices)} images but {len(labels)} labels")

    @property
    def labels(self) -> Tensor | None:
        """Classes, int64 (N,), or None."""
        return self._labels

    def __len__(self) -> int:
        return len(self.indices)

    def name(self, index: int) -> str:
        """Return an image's name within its source."""
        return self.source.name(int(self.indices[index]))

    def image(self, index: int) -> np.ndarray:
        """Read and decode one image, uint8 (C, H, W).

        Raises:
            UnreadableError: It is missing, corrupt or of an unknown kind (a DataError).
            DataError: It is readable but has not the split's shape.
        """
        position = int(self.indices[index])
        where = self.source.path_of(position)
        pixels = decode(self.source.read(position), where, self.preprocessing)
        if pixels.shape != self.image_shape:
            found, wanted = _size(pixels.shape), _size(self.image_shape)
            raise DataError(
                f"{where} is {found} pixels where {wanted} are expected; make the "
                "images one size, or set image_size (and crop) so that they are"
            )
        return pixels

    def images(self, indices: Sequence[int] | Tensor) -> Tensor:
        """Return images by index, uint8 (n, C, H, W) on the CPU.

        Raises:
            DataError: A file is missing, corrupt or has another size; the message names it.
        """
        out = np.empty((len(indices), *self.image_shape), dtype=np.uint8)
        for row, index in enumerate(indices):
            out[row] = self.image(int(index))
        return torch.from_numpy(out)

    def digest(self) -> str:
        """Hash the files' names, sizes, checksums or times, preprocessing and labels (SHA-256)."""
        if self._digest is None:
            sha = hashlib.sha256(repr((self.preprocessing, self.image_shape)).encode())
            for position in self.indices.tolist():
                sha.update(self.source.fingerprint(position).encode() + b"\n")
            sha.update(_label_bytes(self._labels))
            self._digest = sha.hexdigest()
        return self._digest


class SplitDataset:
    """A data set whose splits are made when first asked for, and then kept."""

    def __init__(
        self,
        name: str,
        image_shape: Shape,
        num_classes: int | None,
        splits: Mapping[str, Callable[[], ImageSplit]],
        *,
        stamp: Callable[[str], object] | None = None,
    ) -> None:
        """Hold what makes the splits.

        Args:
            name: The registered name.
            image_shape: (C, H, W).
            num_classes: Number of classes, or None without labels.
            splits: Name of each split -> what makes it.
            stamp: Given a split's name, returns what changes when its files do, without reading
                their images; None if nothing can tell.
        """
        self.name = name
        self.image_shape = image_shape
        self.num_classes = num_classes
        self._makers = splits
        self._stamp = stamp
        self._made: dict[str, ImageSplit] = {}

    def split(self, name: str) -> ImageSplit:
        """Return a split.

        Raises:
            ConfigError: There is no such split; the message lists those that exist.
            DataError: Its files are missing or corrupt.
        """
        self._require(name)
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]

    def fingerprint(self, name: str) -> str | None:
        """Return a hexadecimal digest that changes when a split's files do; None if unknown.

        No image is read for it. It depends on where the files lie: it tells whether something
        that was found out about a split still holds, and nothing else.

        Raises:
            ConfigError: There is no such split.
            DataError: Its files are missing.
        """
        self._require(name)
        return None if self._stamp is None else fingerprint(self.name, name, self._stamp(name))

    def _require(self, name: str) -> None:
        if name not in self._makers:
            raise unknown(f"split of {self.name}", name, self._makers)


def fingerprint(*parts: object) -> str:
    """Hash plain values and the version of the decoder, which moves pixels by a grey level."""
    import PIL

    return digest([PIL.__version__, *parts], length=32)


def _label_bytes(labels: Tensor | None) -> bytes:
    return b"no labels" if labels is None else labels.numpy().tobytes()


def _size(shape: tuple[int, ...]) -> str:
    """Write a (C, H, W) shape as users say it: width x height."""
    return f"{shape[2]}x{shape[1]}"
