"""CelebA and LSUN bedroom: sets that stay on the disk, read from the layout torchvision uses."""

from __future__ import annotations

import functools
import os
from pathlib import Path

from gan_bench.data.decode import FILTERS, Preprocessing
from gan_bench.data.lmdb_source import LmdbSource
from gan_bench.data.loading import IN_MEMORY_LIMIT_MB, check_loading_options, file_dataset
from gan_bench.data.sources import FolderSource, ZipSource
from gan_bench.data.splits import FileSplit, SplitDataset
from gan_bench.data.torchvision_sets import fetch, missing
from gan_bench.errors import DataError, require
from gan_bench.registry import DATASETS

PARTITION = "list_eval_partition.txt"
CELEBA_SPLITS = {"train": "0", "valid": "1", "test": "2"}
CELEBA_CROP = 160
LSUN_TEST = 30_588


@DATASETS.register("celeba", source="Liu et al. 2015; preparation of arXiv 1711.10337")
def celeba(
    *,
    root: str = "data",
    download: bool = False,
    resize: str = "lanczos",
    in_memory_limit_mb: int = IN_MEMORY_LIMIT_MB,
) -> SplitDataset:
    """Aligned faces, centre crop of 160 resized to 64x64x3, no labels; standard splits.

    162,770 to train, 19,867 "valid", 19,962 to test, by list_eval_partition.txt, which lies in
    ROOT/celeba or ROOT beside img_align_celeba (a folder or .zip). `resize` is PIL's antialiased
    filter; compare_gan used TensorFlow's bilinear one, which does not antialias, so FIDs against
    its images differ a little.
    """
    check_loading_options("refuse", in_memory_limit_mb)
    preprocessing = Preprocessing(crop_size=CELEBA_CROP, image_size=64, resize=resize)
    require(resize != "none", f"celeba is resized to 64; choose {', '.join(FILTERS[1:])}")
    places = [Path(root).expanduser() / "celeba", Path(root).expanduser()]

    def files(name: str) -> FileSplit:
        folder = _celeba_folder(places, download)
        names = _celeba_names(folder / PARTITION, CELEBA_SPLITS[name])
        return FileSplit(_celeba_source(folder, names), preprocessing, (3, 64, 64))

    return file_dataset("celeba", (3, 64, 64), CELEBA_SPLITS, files, in_memory_limit_mb)


def _celeba_folder(places: list[Path], download: bool) -> Path:
    def fetch_files() -> None:
        from torchvision.datasets import CelebA

        CelebA(str(places[-1]), download=True)

    for attempt in range(2):
        for place in places:
            images = (place / "img_align_celeba", place / "img_align_celeba.zip")
            if os.path.isfile(place / PARTITION) and any(map(os.path.exists, images)):
                return place
        if attempt == 0 and download:
            fetch("celeba", fetch_files)
    raise missing("celeba", f"{PARTITION} with img_align_celeba or img_align_celeba.zip", places)


def _celeba_names(path: Path, wanted: str) -> list[str]:
    """Return the file names of a split, in the order of the partition file."""
    names = []
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1):
        fields = line.split()
        if len(fields) != 2 or fields[1] not in CELEBA_SPLITS.values():
            raise DataError(f"{path}, line {number}: expected a file name and 0, 1 or 2")
        if fields[1] == wanted:
            names.append(fields[0])
    if not names:
        raise DataError(f"{path} lists no images for split {wanted}; get it again")
    return names


def _celeba_source(folder: Path, names: list[str]) -> FolderSource | ZipSource:
    images = folder / "img_align_celeba"
    if not images.is_dir():
        return ZipSource(
            folder / "img_align_celeba.zip", [f"img_align_celeba/{name}" for name in names]
        )
    there = {path.name for path in images.iterdir()}
    if lost := [name for name in names if name not in there]:
        raise DataError(
            f"{images} lacks {len(lost)} of {len(names)} images of {PARTITION}, the first: "
            f"{lost[0]}; unpack img_align_celeba.zip again"
        )
    return FolderSource(images, names)


@DATASETS.register("lsun_bedroom", source="Yu et al. 2015, arXiv 1506.03365; split of 1807.04720")
def lsun_bedroom(
    *, root: str = "data", in_memory_limit_mb: int = IN_MEMORY_LIMIT_MB
) -> SplitDataset:
    """Bedrooms, centre crop or pad to 128x128x3 without resizing, no labels; 30,588 to test.

    bedroom_train_lmdb, as LSUN distributes it, lies in ROOT or ROOT/lsun (or is ROOT). In the
    order of its keys, the last 30,588 images are the test split and all others the training
    split: LSUN's own 300 validation images are too few for an FID. compare_gan took as many, 1 %
    of the training set, but by its own file order, so the images in each differ from the paper's.
    """
    check_loading_options("refuse", in_memory_limit_mb)
    base = Path(root).expanduser()

    @functools.cache
    def source() -> LmdbSource:
        places = [base, base / "lsun"]
        found = [place / "bedroom_train_lmdb" for place in places] + [base]
        for path in found:
            if os.path.isfile(path / "data.mdb"):
                return LmdbSource(path)
        raise missing(
            "lsun_bedroom", "bedroom_train_lmdb with its data.mdb", places, download=False
        )

    def files(name: str) -> FileSplit:
        first_test = len(source()) - LSUN_TEST
        if first_test <= 0:
            raise DataError(
                f"{source().where} holds {len(source())} images, too few for a test split of "
                f"{LSUN_TEST}; complete it"
            )
        chosen = {"train": range(first_test), "test": range(first_test, len(source()))}[name]
        preprocessing = Preprocessing(crop="center_pad", crop_size=128)
        return FileSplit(source(), preprocessing, (3, 128, 128), indices=chosen)

    names = ("train", "test")
    return file_dataset("lsun_bedroom", (3, 128, 128), names, files, in_memory_limit_mb)
