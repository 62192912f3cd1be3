"""Where images to evaluate come from: a tensor, an array, a folder, a zip, an .npz or a split.

Files are taken as they are: 8-bit grey or colour, one size, nothing cropped, resized or
flattened, since each of these would change the figures.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gan_bench.errors import ConfigError, DataError

Sampler: TypeAlias = Callable[[int], Tensor]
"""Asked for n images, it returns uint8 (n, C, H, W)."""

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm", ".tif", ".tiff"}
# only these of PIL's decoders are tried: some of the others run external programs
_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "PPM", "TIFF")
_BLOCK = 512


class ImageSource(Protocol):
    """Images by position; every `gan_bench.interfaces.ImageSplit` is one."""

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
    """Images in memory."""

    def __init__(self, images: Tensor, *, what: str = "images") -> None:
        """Hold uint8 (N, C, H, W); `what` names them in the DataError for anything else."""
        self._images = checked(images, what)

    def __len__(self) -> int:
        return len(self._images)

    def images(self, indices: Sequence[int] | Tensor) -> Tensor:
        """Return images by position, uint8 (n, C, H, W) on the CPU."""
        return self._images[torch.as_tensor(indices, dtype=torch.int64)].cpu()

    def digest(self) -> str:
        """Hash shape and pixels (SHA-256)."""
        return _content_digest(self)


class FileSource:
    """Encoded images in a folder (with its subfolders) or a zip, in the order of their names."""

    def __init__(self, path: Path) -> None:
        """List the images.

        Raises:
            DataError: There are none, or the zip can't be read.
        """
        self.path = path
        self._zip: zipfile.ZipFile | None = None
        if path.is_dir():
            found = [each.relative_to(path).as_posix() for each in path.rglob("*")]
        else:
            try:
                self._zip = zipfile.ZipFile(path)
                found = self._zip.namelist()
            except (zipfile.BadZipFile, OSError) as error:
                raise DataError(f"{path} can't be read as a zip: {error}") from None
        self._names = sorted(name for name in found if _is_image(name))
        if not self._names:
            raise DataError(f"{path} holds no images ({', '.join(sorted(_SUFFIXES))})")

    def __len__(self) -> int:
        return len(self._names)

    def images(self, indices: Sequence[int] | Tensor) -> Tensor:
        """Return images by position, uint8 (n, C, H, W) on the CPU.

        Raises:
            DataError: One is unreadable, not 8-bit grey or colour, or of another size; it is
                named.
        """
        pixels: list[Tensor] = []
        for index in indices:
            name = self._names[int(index)]
            image = _decode(self._read(name), f"{self.path}/{name}")
            if pixels and image.shape != pixels[0].shape:
                raise DataError(
                    f"{self.path}/{name} is {tuple(image.shape)} where others are "
                    f"{tuple(pixels[0].shape)}; all images must have one size and colour mode"
                )
            pixels.append(image)
        return torch.stack(pixels)

    def digest(self) -> str:
        """Hash shape and pixels (SHA-256), whatever the files are called."""
        return _content_digest(self)

    def _read(self, name: str) -> bytes:
        try:
            return (self.path / name).read_bytes() if self._zip is None else self._zip.read(name)
        except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise DataError(f"{self.path}/{name} can't be read: {error}") from None


def open_source(images: object, what: str) -> ImageSource:
    """Open one side's images.

    Args:
        images: uint8 tensor or array (N, C, H, W), an ImageSplit, or the path of a folder, a zip
            or an .npz.
        what: "generated" or "reference", for the error line.

    Raises:
        ConfigError: It is none of these.
        DataError: It is missing, unreadable, or not uint8 (N, C, H, W).
    """
    if isinstance(images, Tensor):
        return TensorSource(images, what=f"{what} images")
    if isinstance(images, np.ndarray):
        return TensorSource(_from_array(images, f"{what} images"), what=f"{what} images")
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
    source: ImageSource, indices: npt.NDArray[np.int64], batch_size: int, what: str
) -> Iterator[Tensor]:
    """Yield the chosen images in batches, each checked; all have the first one's shape."""
    shape = None
    for start in range(0, len(indices), batch_size):
        chosen = torch.from_numpy(indices[start : start + batch_size])
        images = checked(source.images(chosen), f"{what} images")
        shape = _same_shape(images, shape, what)
        yield images


def draw(sampler: Sampler, count: int, batch_size: int) -> Iterator[Tensor]:
    """Yield batches of a sampler until `count` images are drawn; a surplus is dropped.

    Raises:
        DataError: It returned no images, or not uint8 (n, C, H, W) of one shape.
    """
    shape = None
    drawn = 0
    while drawn < count:
        images = checked(sampler(min(batch_size, count - drawn)), "images of the sampler")
        shape = _same_shape(images, shape, "generated")
        images = images[: count - drawn].cpu()
        drawn += len(images)
        yield images


def checked(images: object, what: str) -> Tensor:
    """Return the images if they are uint8 (N, C, H, W) with N > 0; DataError otherwise."""
    if not isinstance(images, Tensor):
        raise DataError(f"{what} must be a uint8 tensor (N, C, H, W), not {type(images).__name__}")
    if images.dtype != torch.uint8:
        raise DataError(
            f"{what} must be uint8 from 0 to 255, not {str(images.dtype).removeprefix('torch.')}; "
            "scale, round and convert them first"
        )
    if images.ndim != 4 or not len(images):
        raise DataError(f"{what} must be (N, C, H, W) with N > 0, not {tuple(images.shape)}")
    return images


def _same_shape(images: Tensor, shape: torch.Size | None, what: str) -> torch.Size:
    if shape is not None and images.shape[1:] != shape:
        raise DataError(
            f"{what} images differ in shape: {tuple(shape)} and {tuple(images.shape[1:])}"
        )
    return images.shape[1:]


def _from_array(array: npt.NDArray[Any], what: str) -> Tensor:
    if array.dtype != np.uint8:
        raise DataError(
            f"{what} must be uint8 from 0 to 255, not {array.dtype}; "
            "scale, round and convert them first"
        )
    return torch.from_numpy(np.array(array))  # a copy: the array may be read-only


def _open_path(path: Path, what: str) -> ImageSource:
    if path.is_dir() or path.suffix.lower() == ".zip" and path.is_file():
        return FileSource(path)
    if path.suffix.lower() == ".npz" and path.is_file():
        return TensorSource(_read_npz(path), what=str(path))
    if not path.exists():
        raise DataError(f"{what} images: {path} does not exist")
    raise ConfigError(f"{what} images: {path} is neither a folder, nor a .zip, nor an .npz")


def _read_npz(path: Path) -> Tensor:
    """Read the images of an .npz: its only array, or the one called images or arr_0."""
    try:
        with np.load(path, allow_pickle=False) as content:
            names = content.files
            chosen = [name for name in ("images", "arr_0") if name in names] or names
            if len(chosen) != 1 and not {"images", "arr_0"} & set(names):
                raise DataError(f"{path} must hold one array, or one called images or arr_0")
            array = content[chosen[0]]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} can't be read as an .npz of images: {error}") from None
    if array.ndim == 4 and array.shape[1] not in (1, 3) and array.shape[3] in (1, 3):
        array = array.transpose(0, 3, 1, 2)  # the layout of the ADM sample files
    return _from_array(np.ascontiguousarray(array), str(path))


def _is_image(name: str) -> bool:
    parts = name.split("/")
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    return not hidden and Path(name).suffix.lower() in _SUFFIXES


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
    for images in batches(source, np.arange(len(source)), _BLOCK, "reference"):
        sha.update(repr(tuple(images.shape[1:])).encode())
        sha.update(images.contiguous().numpy().tobytes())
    return sha.hexdigest()
