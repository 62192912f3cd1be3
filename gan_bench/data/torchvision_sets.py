"""MNIST, Fashion-MNIST, CIFAR-10 and SVHN, from the files that torchvision also reads."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gan_bench.data import idx
from gan_bench.data.decode import Preprocessing
from gan_bench.data.image_files import open_tree
from gan_bench.data.loading import load
from gan_bench.data.splits import FileSplit, SplitDataset, TensorSplit
from gan_bench.errors import DataError
from gan_bench.files import file_stamp
from gan_bench.registry import DATASETS

IDX_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
IDX_COUNTS = {"train": 60_000, "test": 10_000}
MNIST_MD5 = {  # of the unpacked files: gzip containers differ with whatever packed them
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
CIFAR10_CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
CIFAR10_BATCHES = "cifar-10-batches-py"
CIFAR10_COUNTS = {"train": 50_000, "test": 10_000}


def fetch(name: str, download: Callable[[], Any]) -> None:
    """Run one of torchvision's downloads; a failure becomes one line (DataError)."""
    try:
        download()
    except ImportError as error:
        raise DataError(f"{name} can't be downloaded: {error}") from None
    except (OSError, RuntimeError, ValueError) as error:  # no network, a wrong digest, a quota
        reason = " ".join(str(error).split())
        raise DataError(f"{name} can't be downloaded: {reason}; get the files by hand") from None


def missing(name: str, what: str, places: list[Path], *, download: bool = True) -> DataError:
    """Build the error for files that aren't there.

    Args:
        name: The data set.
        what: Which files.
        places: The folders where they were looked for.
        download: Whether download=true would get them.
    """
    looked = ", ".join(str(place) for place in places)
    way = ", or set download=true" if download else ""
    return DataError(f"{name}: {what} not found in {looked}; set root to where the data is{way}")


@DATASETS.register("mnist", source="LeCun et al. 1998")
def mnist(*, root: str = "data", download: bool = False) -> SplitDataset:
    """Handwritten digits, 28x28x1, 10 classes; 60k to train, 10k to test.

    The four IDX files, plain or .gz, lie in ROOT/MNIST/raw (torchvision's layout), ROOT/mnist or
    ROOT itself. Their unpacked content must have the published MD5.
    """
    return _idx_set("mnist", _find_mnist, _read_mnist, Path(root).expanduser(), download)


@DATASETS.register("fashion_mnist", source="Xiao et al. 2017, arXiv 1708.07747")
def fashion_mnist(*, root: str = "data", download: bool = False) -> SplitDataset:
    """Articles of clothing, 28x28x1, 10 classes; 60k to train, 10k to test.

    The four IDX files, plain or .gz, lie in ROOT/FashionMNIST/raw (torchvision's layout),
    ROOT/fashion_mnist or ROOT itself. No digest of the unpacked files is published; the number of
    images and that all classes are equally frequent are checked, which tells MNIST apart too.
    """
    base = Path(root).expanduser()
    return _idx_set("fashion_mnist", _find_fashion_mnist, _read_fashion_mnist, base, download)


@DATASETS.register("cifar10", source="Krizhevsky 2009")
def cifar10(*, root: str = "data", download: bool = False) -> SplitDataset:
    """Small photographs, 32x32x3, 10 classes; 50k to train, 10k to test.

    ROOT holds either cifar-10-batches-py (as published and as torchvision has it), or train and
    test as folders or zips of images with a sub-folder for each class, also under ROOT/cifar10.
    Labels follow the standard order, airplane to truck. The images' order differs between both.
    """
    find = functools.partial(_find_cifar10, Path(root).expanduser(), download)

    def load_split(name: str) -> TensorSplit | FileSplit:
        path = find(name)
        is_batches = path.name == CIFAR10_BATCHES
        return _load_batches(path.parent, name) if is_batches else _load_cifar10_files(path, name)

    splits = {name: functools.partial(load_split, name) for name in CIFAR10_COUNTS}
    return SplitDataset(
        "cifar10", (3, 32, 32), 10, splits, stamp=lambda name: _tree_stamps(find(name))
    )


@DATASETS.register("svhn", source="Netzer et al. 2011, cropped digits")
def svhn(*, root: str = "data", download: bool = False) -> SplitDataset:
    """House numbers, 32x32x3, 10 classes; 73,257 to train, 26,032 to test, 531,131 extra.

    train_32x32.mat, test_32x32.mat and extra_32x32.mat lie in ROOT or ROOT/svhn; torchvision
    checks their MD5. Labels are the digits.
    """
    find = functools.partial(_find_svhn, Path(root).expanduser(), download)

    def load_split(name: str) -> TensorSplit:
        return _load_svhn(find(name), name)

    splits = {name: functools.partial(load_split, name) for name in ("train", "test", "extra")}
    return SplitDataset("svhn", (3, 32, 32), 10, splits, stamp=lambda name: file_stamp(find(name)))


def _idx_set(
    name: str,
    find: Callable[[Path, bool, str], list[Path]],
    read: Callable[[list[Path], str], TensorSplit],
    root: Path,
    download: bool,
) -> SplitDataset:
    def load_split(split: str) -> TensorSplit:
        return read(find(root, download, split), split)

    splits = {split: functools.partial(load_split, split) for split in IDX_FILES}
    return SplitDataset(
        name,
        (1, 28, 28),
        10,
        splits,
        stamp=lambda split: [file_stamp(path) for path in find(root, download, split)],
    )


def _find_mnist(root: Path, download: bool, split: str) -> list[Path]:
    def fetch_files() -> None:
        from torchvision.datasets import MNIST

        MNIST(str(root), download=True)

    places = [root / "MNIST" / "raw", root / "mnist", root]
    return _find_idx("mnist", split, places, fetch_files if download else None)


def _read_mnist(paths: list[Path], split: str) -> TensorSplit:
    contents = {}
    for path in paths:
        name = path.name.removesuffix(".gz")
        contents[path] = idx.read_bytes(path)
        if idx.md5(contents[path]) != MNIST_MD5[name]:
            raise DataError(
                f"{path} is not MNIST's {name}: its unpacked content has another MD5 than "
                "published; get it again"
            )
    return _idx_split(contents)


def _find_fashion_mnist(root: Path, download: bool, split: str) -> list[Path]:
    def fetch_files() -> None:
        from torchvision.datasets import FashionMNIST

        FashionMNIST(str(root), download=True)

    places = [root / "FashionMNIST" / "raw", root / "fashion_mnist", root]
    return _find_idx("fashion_mnist", split, places, fetch_files if download else None)


def _read_fashion_mnist(paths: list[Path], split: str) -> TensorSplit:
    loaded = _idx_split({path: idx.read_bytes(path) for path in paths})
    assert loaded.labels is not None
    count = IDX_COUNTS[split]
    balanced = torch.bincount(loaded.labels, minlength=10).tolist() == [count // 10] * 10
    if tuple(loaded.tensor.shape) != (count, 1, 28, 28) or not balanced:
        raise DataError(
            f"{paths[0].parent} does not hold Fashion-MNIST: {count} images of 28x28 pixels, "
            f"{count // 10} of each class, are expected for {split}; get it again"
        )
    return loaded


def _find_idx(
    name: str, split: str, places: list[Path], fetch_files: Callable[[], None] | None
) -> list[Path]:
    """Return the paths of a split's images and labels, downloaded if need be and allowed."""
    for attempt in range(2):
        for place in places:
            found = [_plain_or_gz(place / file) for file in IDX_FILES[split]]
            paths = [path for path in found if path is not None]
            if len(paths) == len(found):
                return paths
        if attempt == 0 and fetch_files is not None:
            fetch(name, fetch_files)
    raise missing(name, " and ".join(IDX_FILES[split]) + " (or .gz)", places)


def _plain_or_gz(path: Path) -> Path | None:
    for candidate in (path, path.with_name(path.name + ".gz")):
        if os.path.isfile(candidate):
            return candidate
    return None


def _idx_split(contents: Mapping[Path, bytes]) -> TensorSplit:
    (image_path, images), (label_path, labels) = contents.items()
    pixels = idx.parse(images, image_path, 3)
    classes = idx.parse(labels, label_path, 1)
    if len(pixels) != len(classes):
        raise DataError(
            f"{image_path} holds {len(pixels)} images but {label_path} {len(classes)} labels"
        )
    return TensorSplit(pixels[:, None], classes.to(torch.int64))


def _find_cifar10(root: Path, download: bool, split: str) -> Path:
    """Return the folder of batches, or the folder or zip of a split's images."""
    for place in (root, root / "cifar10"):
        if os.path.isdir(place / CIFAR10_BATCHES):
            return place / CIFAR10_BATCHES
    for place in (root / "cifar10", root):  # the root may hold another set's "train"
        for path in (place / split, place / f"{split}.zip"):
            if os.path.exists(path):
                return path
    if not download:
        places = [root, root / "cifar10"]
        raise missing("cifar10", f"cifar-10-batches-py, {split} or {split}.zip", places)

    def fetch_files() -> None:
        from torchvision.datasets import CIFAR10

        CIFAR10(str(root), download=True)

    fetch("cifar10", fetch_files)
    return root / CIFAR10_BATCHES


def _tree_stamps(path: Path) -> list[object]:
    files = sorted(each for each in path.rglob("*") if each.is_file()) or [path]
    return [file_stamp(each) for each in files]


def _load_batches(root: Path, split: str) -> TensorSplit:
    from torchvision.datasets import CIFAR10

    try:
        batches = CIFAR10(str(root), train=split == "train")
    except (RuntimeError, OSError, EOFError) as error:  # torchvision compares MD5s
        folder = root / CIFAR10.base_folder
        reason = " ".join(str(error).split())
        raise DataError(
            f"{folder} is incomplete or corrupt ({reason}); remove it and get it again"
        ) from None
    pixels = np.ascontiguousarray(batches.data.transpose(0, 3, 1, 2))
    labels = torch.tensor(batches.targets, dtype=torch.int64)
    return TensorSplit(torch.from_numpy(pixels), labels)


def _load_cifar10_files(path: Path, split: str) -> TensorSplit | FileSplit:
    tree = open_tree(path)
    if tree.classes != CIFAR10_CLASSES or len(tree.source) != CIFAR10_COUNTS[split]:
        raise DataError(
            f"{path} is not CIFAR-10's {split} split: it holds {len(tree.source)} images in "
            f"{len(tree.classes or ())} class folders where {CIFAR10_COUNTS[split]} in "
            f"{', '.join(CIFAR10_CLASSES)} are expected; use dataset=image_files for another set"
        )
    preprocessing = Preprocessing(crop="none", resize="none", image_size=32)
    labels = tree.labels(tree.classes)
    return load(FileSplit(tree.source, preprocessing, (3, 32, 32), labels=labels))


def _find_svhn(root: Path, download: bool, split: str) -> Path:
    from torchvision.datasets import SVHN

    file = f"{split}_32x32.mat"
    places = [root, root / "svhn"]
    present = [place for place in places if os.path.isfile(place / file)]
    if not present:
        if not download:
            raise missing("svhn", file, places)
        fetch("svhn", lambda: SVHN(str(root), split=split, download=True))
        present = [root]
    return present[0] / file


def _load_svhn(path: Path, split: str) -> TensorSplit:
    from torchvision.datasets import SVHN

    try:
        loaded = SVHN(str(path.parent), split=split)
    except (RuntimeError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path} is corrupt ({reason}); remove it and get it again") from None
    pixels = torch.from_numpy(np.ascontiguousarray(loaded.data))
    return TensorSplit(pixels, torch.from_numpy(loaded.labels.astype(np.int64)))
