"""Where images to evaluate come from: a tensor, an array, a folder, a zip, an .npz or a split.

Files are taken as they are: 8-bit grey or colour, one size, nothing cropped, resized or
flattened, since each of these would change the figures.
"""

from __future__ import annotations

import functools
import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gan_bench.data.image_files import open_tree
from gan_bench.errors import ConfigError, DataError
from gan_bench.evaluation.npz import read_images
from gan_bench.evaluation.statistics import Batch
from gan_bench.files import digest, file_stamp
from gan_bench.interfaces import Dataset

Sampler: TypeAlias = "Callable[[int], Tensor | tuple[Tensor, Tensor]]"
"""Asked for n images, it returns uint8 (n, C, H, W), or these and their classes (n,)."""

# only these of PIL's decoders are tried: some of the others run external programs
_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "PPM", "TIFF")
_BLOCK = 512


class ImageSource(Protocol):
    """Images by position; every `gan_bench.interfaces.ImageSplit` is one.

    A source whose files tell whether they have changed has `fingerprint() -> str` too: its digest
    is then remembered, and the images aren't read for it again.
    """

    @property
    def labels(self) -> Tensor | None:
        """Classes, int64 (N,), or None."""
        ...

    def __len__(self) -> int:
        """Return the number of images."""
        ...

    def images(self, indices: Sequence[int] | Tensor) -> Tensor:
        """Return images by position, uint8 (n, C, H, W) on the CPU."""
        ...

    def digest(self) -> str:
        """Return a hexadecimal digest of the content."""
        ...


Images: TypeAlias = "ImageSource | Tensor | npt.NDArray[Any] | str | Path"


class TensorSource:
    """Images in memory: uint8, or float32 from 0 to 255 where that is allowed."""

    def __init__(
        self,
        images: Tensor,
        labels: Tensor | None = None,
        *,
        what: str = "images",
        dtype: torch.dtype = torch.uint8,
    ) -> None:
        """Hold (N, C, H, W); `what` names them in the DataError for anything else."""
        self._images = checked(images, what, dtype)
        self.labels = None if labels is None else labels.to("cpu", torch.int64)

    def __len__(self) -> int:
        return len(self._images)

    def images(self, indices: Sequence[int] | Tensor) -> Tensor:
        """Return images by position (n, C, H, W) on the CPU."""
        return self._images[torch.as_tensor(indices, dtype=torch.int64)].cpu()

    def digest(self) -> str:
        """Hash shape and pixels (SHA-256)."""
        return _content_digest(self)


class FileSource:
    """Encoded images in a folder (with its sub-folders) or a zip, in the order of their names."""

    def __init__(self, path: Path) -> None:
        """List the images; those in sub-folders have these as classes.

        Raises:
            DataError: There are none, or the zip can't be read.
        """
        try:
            self._tree = open_tree(path)
        except DataError:  # sub-folders that are no classes
            self._tree = open_tree(path, labels="none")
        self._files = self._tree.source

    @functools.cached_property
    def labels(self) -> Tensor | None:
        """Classes by sorted name of the sub-folder, int64 (N,), or None."""
        return self._tree.labels(self._tree.classes)

    def __len__(self) -> int:
        return len(self._files)

    def images(self, indices: Sequence[int] | Tensor) -> Tensor:
        """Return images by position, uint8 (n, C, H, W) on the CPU.

        Raises:
            DataError: One is unreadable, not 8-bit grey or colour, or of another size; it is
                named.
        """
        pixels: list[Tensor] = []
        for index in indices:
            where = self._files.path_of(int(index))
            image = _decode(self._files.read(int(index)), where)
            if pixels and image.shape != pixels[0].shape:
                raise DataError(
                    f"{where} is {tuple(image.shape)} where others are "
                    f"{tuple(pixels[0].shape)}; all images must have one size and colour mode"
                )
            pixels.append(image)
        return torch.stack(pixels)

    def digest(self) -> str:
        """Hash shape and pixels (SHA-256), whatever the files are called."""
        return _content_digest(self)

    def fingerprint(self) -> str:
        """Hash the files' names, sizes and checksums or times of change, without reading them."""
        lines = [self._files.fingerprint(position) for position in range(len(self))]
        return digest([str(self._files.where), lines], length=32)


class LazySource:
    """A source that is opened when something of it is wanted that isn't remembered."""

    def __init__(self, fingerprint: str, make: Callable[[], ImageSource]) -> None:
        """Hold what makes it, and a digest that changes when it would."""
        self._fingerprint = fingerprint
        self._make = make

    @functools.cached_property
    def _made(self) -> ImageSource:
        return self._make()

    @property
    def labels(self) -> Tensor | None:
        """Classes, int64 (N,), or None."""
        return self._made.labels

    def __len__(self) -> int:
        return len(self._made)

    def images(self, indices: Sequence[int] | Tensor) -> Tensor:
        """Return images by position, uint8 (n, C, H, W) on the CPU."""
        return self._made.images(indices)

    def digest(self) -> str:
        """Return the digest of the content."""
        return self._made.digest()

    def fingerprint(self) -> str:
        """Return what changes when the files do."""
        return self._fingerprint


def split_source(dataset: Dataset, name: str) -> ImageSource:
    """Return a split, not read yet if the data set can tell whether its files have changed.

    Raises:
        ConfigError: There is no such split.
        DataError: Its files are missing or corrupt.
    """
    tell = getattr(dataset, "fingerprint", None)
    stamp = None if tell is None else tell(name)
    if stamp is None:
        return dataset.split(name)
    return LazySource(stamp, lambda: dataset.split(name))


def open_source(images: object, what: str, dtype: torch.dtype = torch.uint8) -> ImageSource:
    """Open one side's images.

    Args:
        images: uint8 tensor or array (N, C, H, W), an ImageSplit, or the path of a folder, a zip
            or an .npz.
        what: "generated" or "reference", for the error line.
        dtype: What a tensor must be: uint8, or float32 from 0 to 255.

    Raises:
        ConfigError: It is none of these.
        DataError: It is missing, unreadable, or not (N, C, H, W).
    """
    if isinstance(images, np.ndarray):
        images = torch.from_numpy(np.array(images))  # a copy: the array may be read-only
    if isinstance(images, Tensor):
        return TensorSource(images, what=f"{what} images", dtype=dtype)
    if isinstance(images, (str, Path)):
        return _open_path(Path(images).expanduser(), what)
    if all(hasattr(images, name) for name in ("images", "digest", "__len__")):
        return cast(ImageSource, images)
    raise ConfigError(
        f"{what} images can't be a {type(images).__name__}: give a uint8 tensor or array "
        "(N, C, H, W), a folder, a zip, an .npz"
        + (", a split or a sampler" if what == "generated" else " or a split")
    )


def batches(
    source: ImageSource,
    indices: npt.NDArray[np.int64],
    batch_size: int,
    what: str,
    *,
    labels: bool = False,
) -> Iterator[Batch]:
    """Yield the chosen images in batches, each checked; all have the first one's shape."""
    shape = None
    classes = source.labels if labels else None
    for start in range(0, len(indices), batch_size):
        chosen = torch.from_numpy(indices[start : start + batch_size])
        images = source.images(chosen)
        if images.dtype != torch.float32:  # a tensor's own, checked when it was opened
            images = checked(images, f"{what} images")
        shape = _same_shape(images, shape, what)
        yield Batch(images, None if classes is None else classes[chosen])


def draw(
    sampler: Sampler, count: int, batch_size: int, dtype: torch.dtype = torch.uint8
) -> Iterator[Batch]:
    """Yield batches of a sampler until `count` images are drawn; a surplus is dropped.

    Raises:
        DataError: It returned no images, or not uint8 (n, C, H, W) of one shape.
    """
    shape = None
    drawn = 0
    while drawn < count:
        found = sampler(min(batch_size, count - drawn))
        images, labels = found if isinstance(found, tuple) else (found, None)
        images = checked(images, "images of the sampler", dtype)
        shape = _same_shape(images, shape, "generated")
        images = images[: count - drawn].cpu()
        if labels is not None:
            labels = labels[: len(images)].to("cpu", torch.int64)
        drawn += len(images)
        yield Batch(images, labels)


def checked(images: object, what: str, dtype: torch.dtype = torch.uint8) -> Tensor:
    """Return the images if they are (N, C, H, W) with N > 0; DataError otherwise.

    They must be uint8, or, where `dtype` says so, float32 from 0 to 255.
    """
    if not isinstance(images, Tensor):
        raise DataError(f"{what} must be a uint8 tensor (N, C, H, W), not {type(images).__name__}")
    if images.ndim != 4 or not len(images):
        raise DataError(f"{what} must be (N, C, H, W) with N > 0, not {tuple(images.shape)}")
    if images.dtype != dtype:
        wanted, found = (str(each).removeprefix("torch.") for each in (dtype, images.dtype))
        how = "scale, round and convert" if dtype == torch.uint8 else "don't round"
        raise DataError(f"{what} must be {wanted} from 0 to 255, not {found}; {how} them first")
    if dtype == torch.float32:
        low, high = float(images.min()), float(images.max())
        if not (low >= 0.0 and 1.0 < high <= 255.0):
            raise DataError(
                f"{what} must be float32 from 0 to 255, not from {low:.3g} to {high:.3g}; "
                "scale them first"
            )
    return images


def _same_shape(images: Tensor, shape: torch.Size | None, what: str) -> torch.Size:
    if shape is not None and images.shape[1:] != shape:
        raise DataError(
            f"{what} images differ in shape: {tuple(shape)} and {tuple(images.shape[1:])}"
        )
    return images.shape[1:]


def _open_path(path: Path, what: str) -> ImageSource:
    if path.is_dir() or path.suffix.lower() == ".zip" and path.is_file():
        return FileSource(path)
    if path.suffix.lower() == ".npz" and path.is_file():

        def read() -> ImageSource:
            return TensorSource(*read_images(path), what=str(path))

        return LazySource(digest(["npz", file_stamp(path)], length=32), read)
    if not path.exists():
        raise DataError(f"{what} images: {path} does not exist")
    raise ConfigError(f"{what} images: {path} is neither a folder, nor a .zip, nor an .npz")


def _decode(data: bytes, where: str) -> Tensor:
    """Decode one image to uint8 (C, H, W)."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            image.load()
            palette = image.mode == "P" and "transparency" not in image.info
            mode = "RGB" if palette else image.mode
            pixels = np.array(image.convert("RGB") if palette else image)
    except Exception as error:  # PIL's decoders raise whatever the bytes make them stumble over
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{where} is unreadable: {reason}") from None
    if mode not in ("L", "RGB"):
        raise DataError(f"{where} has mode {mode}; save it as 8-bit grey or RGB")
    return torch.from_numpy(pixels[None] if mode == "L" else pixels.transpose(2, 0, 1).copy())


def _content_digest(source: ImageSource) -> str:
    sha = hashlib.sha256()
    for batch in batches(source, np.arange(len(source)), _BLOCK, "reference"):
        sha.update(repr(tuple(batch.images.shape[1:])).encode())
        sha.update(batch.images.contiguous().numpy().tobytes())
    return sha.hexdigest()
