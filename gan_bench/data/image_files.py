"""Data sets that are folders or zips of images."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path, PurePosixPath

import numpy as np
import torch

from gan_bench.data.decode import Preprocessing, UnreadableError, decode
from gan_bench.data.loading import IN_MEMORY_LIMIT_MB, check_loading_options, file_dataset, load
from gan_bench.data.sources import FolderSource, ZipSource, open_images
from gan_bench.data.splits import FileSplit, Shape, SplitDataset, fingerprint
from gan_bench.errors import DataError, require, unknown
from gan_bench.interfaces import ImageSplit
from gan_bench.registry import DATASETS

LABELS = ("auto", "none")
_SPLIT_NAMES = frozenset({"train", "training", "test", "testing", "val", "valid", "validation"})
CELEBA_HQ_IMAGES = 30_000
CELEBA_HQ_TEST = 3_000


@dataclasses.dataclass(frozen=True)
class ImageTree:
    """A folder or zip of images, and the classes that its sub-folders tell."""

    source: FolderSource | ZipSource
    classes: tuple[str, ...] | None
    """Names of the class sub-folders, sorted, or None without."""
    folders: tuple[str, ...] | None
    """The class of each image, or None."""

    def labels(self, classes: tuple[str, ...] | None) -> torch.Tensor | None:
        """Return the images' classes as positions in `classes`, int64 (N,).

        Raises:
            DataError: The tree has a class that isn't there, or no classes though some are wanted.
        """
        if classes is None:
            return None
        number = {name: position for position, name in enumerate(classes)}
        strange = sorted(set(self.folders or ("(none)",)) - set(number))
        if self.folders is None or strange:
            raise DataError(
                f"{self.source.where} has the class folders {', '.join(strange)}, which are not "
                f"among {_few(classes)}; make the folders equal, or set labels=none"
            )
        return torch.tensor([number[name] for name in self.folders], dtype=torch.int64)


def open_tree(path: Path, labels: str = "auto") -> ImageTree:
    """Open a folder or zip of images and read the classes from its sub-folders.

    Folders that all images share are no classes. Below them, either no image lies in a
    sub-folder, and there are no labels, or each does, and the topmost one is its class.

    Args:
        path: The folder or zip.
        labels: "auto", or "none" to pay no attention to sub-folders.

    Raises:
        DataError: It is missing, empty, mixes both kinds, or its sub-folders are splits.
    """
    source = open_images(path)
    if labels == "none":
        return ImageTree(source, None, None)
    parents = [PurePosixPath(source.name(i)).parent.parts for i in range(len(source))]
    low, high = min(parents), max(parents)  # what these two share, all between them share
    shared = 0
    while shared < len(low) and shared < len(high) and low[shared] == high[shared]:
        shared += 1
    inside = [len(parts) > shared for parts in parents]
    if not any(inside):
        return ImageTree(source, None, None)
    if not all(inside):
        stray = source.path_of(inside.index(False))
        raise DataError(
            f"{path} mixes class sub-folders with images outside of them, such as {stray}; move "
            "them, or set labels=none"
        )
    folders = tuple(parts[shared] for parts in parents)
    classes = tuple(sorted(set(folders)))
    if {name.lower() for name in classes} <= _SPLIT_NAMES:
        raise DataError(
            f"the sub-folders of {path} ({', '.join(classes)}) look like splits, not classes; set "
            "root to the one to train on and test_root to the one to test on"
        )
    return ImageTree(source, classes, folders)


def held_out(count: int, fraction: float) -> np.ndarray:
    """Choose test images evenly along the sorted names, bool (count,).

    With m = round(fraction * 10^6), image i is a test image when (i + 1) * m and i * m differ in
    how many whole millions they hold: floor(count * fraction) images, every fifth for 0.2.
    """
    steps = np.arange(count + 1, dtype=np.int64) * round(fraction * 1_000_000) // 1_000_000
    return np.asarray(steps[1:] > steps[:-1])


class ImageFilesDataset:
    """Folders or zips of images; looked into when something about them is first asked."""

    def __init__(
        self,
        name: str,
        root: Path,
        test_root: Path | None,
        preprocessing: Preprocessing,
        *,
        in_memory_limit_mb: int,
        unreadable: str,
        test_fraction: float,
        labels: str,
    ) -> None:
        """Hold the options; see `image_files`."""
        self.name = name
        self._root = root
        self._test_root = test_root
        self._preprocessing = preprocessing
        self._in_memory_limit_mb = in_memory_limit_mb
        self._unreadable = unreadable
        self._test_fraction = test_fraction
        self._labels = labels
        self._made: dict[str, ImageSplit] = {}

    @functools.cached_property
    def _tree(self) -> ImageTree:
        return open_tree(self._root, self._labels)

    @functools.cached_property
    def image_shape(self) -> Shape:
        """(C, H, W): from the options, or else from the first readable image.

        Raises:
            DataError: The files are missing, or none is readable.
        """
        given = self._preprocessing.shape()
        if given is not None:
            return given
        source, reason = self._tree.source, ""
        for position in range(len(source)):
            try:
                data = source.read(position)
                pixels = decode(data, source.path_of(position), self._preprocessing)
            except UnreadableError as error:
                reason = reason or str(error)
                continue
            return (pixels.shape[0], pixels.shape[1], pixels.shape[2])
        raise DataError(f"none of the {len(source)} images in {source.where} can be read: {reason}")

    @property
    def num_classes(self) -> int | None:
        """Number of class sub-folders, or None without (DataError if the files are missing)."""
        return None if self._tree.classes is None else len(self._tree.classes)

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Names of the classes in the order of the labels, or None."""
        return self._tree.classes

    def split(self, name: str) -> ImageSplit:
        """Return a split.

        Raises:
            ConfigError: There is no such split.
            DataError: Files are missing, corrupt or of another size, or too few to hold some out.
        """
        self._require(name)
        if name not in self._made:
            self._made[name] = load(
                self._files(name),
                in_memory_limit_mb=self._in_memory_limit_mb,
                unreadable=self._unreadable,
            )
        return self._made[name]

    def fingerprint(self, name: str) -> str:
        """Return a hexadecimal digest that changes when the split's files or the options do.

        Raises:
            ConfigError: There is no such split.
            DataError: The files are missing.
        """
        self._require(name)
        roots = [self._tree.source]
        if self._test_root is not None:
            roots.append(open_tree(self._test_root, self._labels).source)
        files = [[root.fingerprint(i) for i in range(len(root))] for root in roots]
        options = [repr(self._preprocessing), self._test_fraction, self._labels, self._unreadable]
        return fingerprint(name, [root.where for root in roots], files, options)

    def _require(self, name: str) -> None:
        known = ["train", "test"] if self._test_root or self._test_fraction else ["train"]
        if name not in known:
            raise unknown(f"split of {self.name}", name, known)

    def _files(self, name: str) -> FileSplit:
        tree, chosen = self._tree, np.ones(len(self._tree.source), dtype=bool)
        if self._test_root is not None:
            if name == "test":
                tree = open_tree(self._test_root, self._labels)
                chosen = np.ones(len(tree.source), dtype=bool)
        else:
            chosen = held_out(len(chosen), self._test_fraction) == (name == "test")
        if not chosen.any():
            raise DataError(
                f"{tree.source.where} holds {len(chosen)} images, too few for a {name} split with "
                f"test_fraction={self._test_fraction}; add images, or set test_root"
            )
        labels = tree.labels(self._tree.classes)
        indices = np.flatnonzero(chosen)
        return FileSplit(
            tree.source,
            self._preprocessing,
            self.image_shape,
            indices=indices,
            labels=None if labels is None else labels[torch.from_numpy(indices)],
        )


@DATASETS.register("image_files")
def image_files(
    *,
    root: str = "data/images",
    test_root: str = "",
    test_fraction: float = 0.1,
    title: str = "image_files",
    labels: str = "auto",
    channels: int = 3,
    crop: str = "center",
    crop_size: int = 0,
    image_size: int = 0,
    resize: str = "lanczos",
    unreadable: str = "refuse",
    in_memory_limit_mb: int = IN_MEMORY_LIMIT_MB,
) -> ImageFilesDataset:
    """Your own images: a folder or zip, with class sub-folders or without.

    `gan_bench.data.decode` states the policy for depth, transparency, channels, crop and size.
    Files are taken by extension, sorted by path; hidden ones and __MACOSX are passed over.

    Args:
        root: Folder or zip of training images.
        test_root: Folder or zip of test images; empty to hold some of `root` out.
        test_fraction: How many to hold out, in [0, 1), evenly along the sorted paths (`held_out`).
        title: What the set is called in results: letters, digits and underscores.
        labels: "auto": class sub-folders, by sorted name, are labels; "none": no labels.
        channels: 3 or 1.
        crop: "none", "center" or "center_pad".
        crop_size: Side of the crop; 0 for the largest centred square.
        image_size: Side of the images in the end; 0 leaves it as the crop made it.
        resize: "lanczos", "bicubic", "bilinear" or "box", antialiased; "none" refuses other sizes.
        unreadable: "refuse": corrupt files are an error; "skip": they are left out and listed in
            the split's `skipped`.
        in_memory_limit_mb: Splits with more MiB of pixels are decoded from the files as needed.

    Raises:
        ConfigError: An option is out of range.
    """
    require(
        title.isascii() and title.isidentifier(),
        f"title '{title}' must be letters, digits and underscores, and not begin with a digit",
    )
    require(0 <= test_fraction < 1, f"test_fraction must be in [0, 1), got {test_fraction}")
    if labels not in LABELS:
        raise unknown("labels", labels, LABELS)
    check_loading_options(unreadable, in_memory_limit_mb)
    return ImageFilesDataset(
        title,
        Path(root).expanduser(),
        Path(test_root).expanduser() if test_root else None,
        Preprocessing(channels, crop, crop_size, image_size, resize),
        in_memory_limit_mb=in_memory_limit_mb,
        unreadable=unreadable,
        test_fraction=test_fraction,
        labels=labels,
    )


@DATASETS.register("celeba_hq", source="Karras et al. 2018, arXiv 1710.10196; split of 1807.04720")
def celeba_hq(
    *,
    root: str = "data/celeba_hq",
    in_memory_limit_mb: int = IN_MEMORY_LIMIT_MB,
) -> SplitDataset:
    """CelebA-HQ at 128x128x3, no labels; 27k to train, 3k to test.

    A folder or zip with the 30,000 images, square, of 128 pixels or more (1024 as published).
    Larger ones are averaged over boxes, as the progressive GAN's lower resolutions are made. Of
    the files sorted by path, the last 3000 are the test images: compare_gan has the sizes 27k
    and 3k, but its order is that of other files, so the images in each differ from the paper's.
    """
    check_loading_options("refuse", in_memory_limit_mb)
    path = Path(root).expanduser()

    @functools.cache
    def source() -> FolderSource | ZipSource:
        images = open_images(path)
        if len(images) != CELEBA_HQ_IMAGES:
            raise DataError(
                f"{path} holds {len(images)} images, CelebA-HQ has {CELEBA_HQ_IMAGES}; complete "
                "it, or use dataset=image_files for another set"
            )
        return images

    def files(name: str) -> FileSplit:
        first_test = CELEBA_HQ_IMAGES - CELEBA_HQ_TEST
        chosen = {"train": range(first_test), "test": range(first_test, CELEBA_HQ_IMAGES)}[name]
        preprocessing = Preprocessing(crop="none", image_size=128, resize="box")
        return FileSplit(source(), preprocessing, (3, 128, 128), indices=chosen)

    names = ("train", "test")
    return file_dataset("celeba_hq", (3, 128, 128), names, files, in_memory_limit_mb)


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
