"""Reading .npz files that other tools wrote: images, or published statistics of images."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gan_bench.errors import DataError
from gan_bench.evaluation.frechet import Gaussian
from gan_bench.evaluation.statistics import FeatureStatistics

_STATISTICS = ("mu", "sigma")


def read_images(path: Path) -> tuple[Tensor, Tensor | None]:
    """Read images and, where there are any, their classes.

    Images are the only array, or the one called images or arr_0, (N, C, H, W) or (N, H, W, C);
    classes the one called labels or arr_1, integers (N,), as in the sample files of ADM.

    Raises:
        DataError: The file is unreadable, or holds no such array.
    """
    content = _read(path, "images")
    chosen = [name for name in content if name in ("images", "arr_0")] or list(content)
    if len(chosen) != 1 and not {"images", "arr_0"} & set(content):
        raise DataError(f"{path} must hold one array, or one called images or arr_0")
    images = content[chosen[0]]
    if images.dtype != np.uint8:
        raise DataError(
            f"{path} must be uint8 from 0 to 255, not {images.dtype}; "
            "scale, round and convert them first"
        )
    if images.ndim == 4 and images.shape[1] not in (1, 3) and images.shape[3] in (1, 3):
        images = images.transpose(0, 3, 1, 2)
    labels = None
    for name in ("labels", "arr_1"):
        found = content.get(name)
        if found is not None and found.shape == images.shape[:1] and found.dtype.kind in "iu":
            labels = torch.from_numpy(found.astype(np.int64))
    return torch.from_numpy(np.ascontiguousarray(images)), labels


def holds_statistics(path: Path) -> bool:
    """Tell whether a path is an .npz with a mean `mu` and a covariance `sigma`."""
    if path.suffix.lower() != ".npz" or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
    return {f"{name}.npy" for name in _STATISTICS} <= names


def read_statistics(path: Path) -> FeatureStatistics:
    """Read published statistics: `mu` (d,) and `sigma` (d, d), as TTUR and clean-fid write them.

    How many images they are of is not in such a file, unless as `n`.

    Raises:
        DataError: The file is unreadable, or its arrays are not what they should be.
    """
    content = _read(path, "statistics")
    mean, covariance = (content[name] for name in _STATISTICS)
    if mean.dtype.kind != "f" or covariance.dtype.kind != "f":
        raise DataError(f"{path}: mu and sigma must be floating-point numbers")
    try:
        gaussian = Gaussian.from_matrix(torch.from_numpy(mean), torch.from_numpy(covariance))
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    if not np.isfinite(mean).all() or not np.isfinite(covariance).all():
        raise DataError(f"{path} holds numbers that are not finite; get it again")
    n = int(content["n"]) if "n" in content and content["n"].size == 1 else None
    return FeatureStatistics(n=n, gaussian=gaussian)


def _read(path: Path, what: str) -> dict[str, npt.NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as content:
            return {name: content[name] for name in content.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path} can't be read as an .npz of {what}: {reason}") from None
