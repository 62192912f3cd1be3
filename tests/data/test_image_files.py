"""Folders and zips of images: policies, labels, splits, damage."""

import io
import os
import pickle
import warnings
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from gan_bench.data import image_files as module
from gan_bench.data import loading, sources
from gan_bench.data.image_files import held_out
from gan_bench.data.sources import ZipSource
from gan_bench.errors import ConfigError, DataError
from gan_bench.registry import DATASETS


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("GAN_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encoded(image: PIL.Image.Image, kind: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def write(root: Path, files: dict[str, bytes]) -> Path:
    """Write files into a folder, or into a zip if the root ends so."""
    if root.suffix == ".zip":
        with zipfile.ZipFile(root, "w") as archive:
            for number, (name, data) in enumerate(files.items()):
                method = zipfile.ZIP_DEFLATED if number % 2 else zipfile.ZIP_STORED
                archive.writestr(name, data, method)
    else:
        for name, data in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(data)
    return root


def pngs(count: int, size: int = 8, folder: str = "") -> dict[str, bytes]:
    return {
        f"{folder}{i:03}.png": encoded(PIL.Image.fromarray(noise(size, size, 3, seed=i)))
        for i in range(count)
    }


def build(root: Path, **options):
    return DATASETS.build("image_files", root=str(root), **{"test_fraction": 0.0, **options})


def one(tmp_path: Path, data: bytes, name: str = "a.png", **options) -> torch.Tensor:
    """Return the pixels (C, H, W) of a single file as image_files makes them."""
    return build(write(tmp_path / "one", {name: data}), **options).split("train").images([0])[0]


def hwc(pixels: torch.Tensor) -> np.ndarray:
    return pixels.permute(1, 2, 0).numpy()


# Options


@pytest.mark.parametrize("limit", [0, 100])
def test_another_size_is_refused_and_named(tmp_path, limit):
    files = pngs(4) | {"odd.png": encoded(PIL.Image.fromarray(noise(9, 9, 3)))}
    dataset = build(write(tmp_path / "d", files), unreadable="skip", in_memory_limit_mb=limit)
    with pytest.raises(DataError, match=r"odd\.png is 9x9 pixels where 8x8 are expected"):
        dataset.split("train").images(range(5))


@pytest.mark.parametrize(
    "options",
    [
        {"channels": 2},
        {"crop": "centre"},
        {"crop": "none", "crop_size": 3},
        {"crop": "center_pad"},
        {"resize": "nearest"},
        {"image_size": -1},
        {"crop_size": -1},
        {"title": "a b"},
        {"title": "1a"},
        {"title": ""},
        {"test_fraction": 1.0},
        {"labels": "folders"},
        {"unreadable": "ignore"},
        {"in_memory_limit_mb": -1},
    ],
)
def test_bad_options(options):
    with pytest.raises(ConfigError):
        DATASETS.build("image_files", **options)


# Files, labels, splits


@pytest.mark.parametrize("kind", ["d", "d.zip"])
@pytest.mark.parametrize("limit", [0, 100])
def test_folders_zips_memory_and_files_agree(tmp_path, kind, limit):
    files = pngs(3, folder="b/") | pngs(2, folder="a/deep/") | pngs(1, folder="c/")
    clutter = {"readme.txt": b"x", ".hidden/000.png": b"x", "a/.h.png": b"x"}
    clutter |= {"__MACOSX/a/._000.png": b"x", "labels.json": b"{}"}
    root = write(tmp_path / kind, files | clutter)
    dataset = build(root, in_memory_limit_mb=limit, title="mine")
    split = dataset.split("train")
    assert (dataset.name, dataset.image_shape, dataset.num_classes) == ("mine", (3, 8, 8), 3)
    assert dataset.class_names == ("a", "b", "c")
    assert split.in_memory == (limit > 0)
    assert split.labels.tolist() == [0, 0, 1, 1, 1, 2]
    expected = np.stack([noise(8, 8, 3, seed=seed) for seed in (0, 1, 0, 1, 2, 0)])
    result = split.images(torch.arange(6)).permute(0, 2, 3, 1).numpy()
    assert np.array_equal(result, expected)
    assert np.array_equal(split.images([4, 1]).permute(0, 2, 3, 1).numpy(), expected[[4, 1]])
    assert split.skipped == ()


def test_shared_folders_are_no_class(tmp_path):
    dataset = build(write(tmp_path / "d.zip", pngs(3, folder="archive/images/")))
    assert dataset.num_classes is None
    assert dataset.split("train").labels is None


def test_mixed_tree(tmp_path):
    root = write(tmp_path / "d", pngs(2, folder="cat/") | pngs(1))
    with pytest.raises(DataError, match=r"mixes class sub-folders .*000\.png"):
        build(root).split("train")
    assert len(build(root, labels="none").split("train")) == 3


def test_split_folders_are_no_classes(tmp_path):
    root = write(tmp_path / "d", pngs(2, folder="train/") | pngs(1, folder="test/"))
    with pytest.raises(DataError, match="look like splits.* test_root"):
        build(root).split("train")
    dataset = build(root / "train", test_root=str(root / "test"))
    assert (len(dataset.split("train")), len(dataset.split("test"))) == (2, 1)


def test_test_root_must_have_the_same_classes(tmp_path):
    train = write(tmp_path / "x", pngs(1, folder="a/") | pngs(2, folder="b/"))
    for name, folders in {"y": ("b/", "c/"), "z": ("",)}.items():
        files = {key: data for folder in folders for key, data in pngs(1, folder=folder).items()}
        dataset = build(train, test_root=str(write(tmp_path / name, files)))
        with pytest.raises(DataError, match="not among a, b"):
            dataset.split("test")


@pytest.mark.parametrize(
    ("count", "fraction", "expected"), [(10, 0.2, 2), (9, 0.2, 1), (1000, 0.1, 100), (7, 0.0, 0)]
)
def test_held_out_counts(count, fraction, expected):
    chosen = held_out(count, fraction)
    assert chosen.sum() == expected
    if fraction == 0.2:
        assert np.array_equal(np.flatnonzero(chosen), np.arange(4, count, 5))


def test_hold_out_is_a_partition(tmp_path):
    root = write(tmp_path / "d", pngs(10))
    dataset = build(root, test_fraction=0.3, in_memory_limit_mb=0)
    train, test = dataset.split("train"), dataset.split("test")
    names = [split.name(i) for split in (train, test) for i in range(len(split))]
    assert len(test) == 3
    assert sorted(names) == [f"{i:03}.png" for i in range(10)]
    with pytest.raises(DataError, match="holds 10 images, too few for a test split"):
        build(root, test_fraction=0.05).split("test")
    with pytest.raises(ConfigError, match="known: train"):
        build(root).split("test")


def test_empty_and_wrong_roots(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "torn.zip").write_bytes(write(tmp_path / "d.zip", pngs(3)).read_bytes()[:-30])
    with pytest.raises(DataError, match="holds no images"):
        build(tmp_path / "empty").split("train")
    for name in ("file", "torn.zip"):
        with pytest.raises(DataError, match="neither a folder nor a readable zip"):
            build(tmp_path / name).split("train")


def test_links_are_followed_but_not_in_circles(tmp_path):
    root = write(tmp_path / "d", pngs(2, folder="a/"))
    elsewhere = write(tmp_path / "elsewhere", pngs(3))
    (root / "b").symlink_to(elsewhere)
    (root / "a" / "up").symlink_to(root)
    assert build(root).split("train").labels.tolist() == [0, 0, 1, 1, 1]


# Damage

BROKEN = {
    "cut.png": lambda: encoded(PIL.Image.fromarray(noise(8, 8, 3)))[:-60],
    "cut.jpg": lambda: encoded(PIL.Image.fromarray(noise(64, 64, 3)), "JPEG")[:700],
    "bits.png": lambda: encoded(PIL.Image.fromarray(noise(8, 8, 3))).replace(b"IDAT", b"IDAT!"),
    "text.png": lambda: b"hello",
    "empty.png": lambda: b"",
}


@pytest.mark.parametrize("kind", ["d", "d.zip"])
@pytest.mark.parametrize("limit", [0, 100])
def test_unreadable_files(tmp_path, kind, limit):
    broken = {name: make() for name, make in BROKEN.items()}
    root = write(tmp_path / kind, pngs(4) | broken)
    refused = build(root, in_memory_limit_mb=limit)
    with pytest.raises(DataError, match=r"bits\.png is unreadable") as caught:
        refused.split("train").images(range(9))
    assert "\n" not in str(caught.value)
    if limit:
        assert str(caught.value).startswith("5 of 9 images can't be read")
    for _ in range(2):  # the second time from the cache
        split = build(root, in_memory_limit_mb=limit, unreadable="skip").split("train")
        assert split.skipped == tuple(sorted(BROKEN))
        assert len(split) == 4
        expected = np.stack([noise(8, 8, 3, seed=seed) for seed in range(4)])
        found = split.images(range(4)).permute(0, 2, 3, 1).numpy()
        assert np.array_equal(found, expected)


def test_each_kind_of_damage_is_named(tmp_path):
    for name, make in BROKEN.items():
        with pytest.raises(DataError, match=name.replace(".", r"\.")):
            one(tmp_path / name, make(), name, image_size=8)


def test_skipping_keeps_labels_aligned(tmp_path):
    files = pngs(2, folder="a/") | pngs(3, folder="b/") | {"a/0.png": b"", "b/001x.png": b""}
    for limit in (0, 100):
        root = write(tmp_path / f"{limit}.zip", files)
        split = build(root, unreadable="skip", in_memory_limit_mb=limit).split("train")
        assert split.labels.tolist() == [0, 0, 1, 1, 1]


@pytest.mark.parametrize("limit", [0, 100])
def test_nothing_readable(tmp_path, limit):
    root = write(tmp_path / "d", {"a.png": b"", "b.png": b"x"})
    for options in ({}, {"image_size": 8}):
        dataset = build(root, unreadable="skip", in_memory_limit_mb=limit, **options)
        with pytest.raises(DataError, match="none of the 2 images"):
            dataset.split("train")


def test_damaged_zip_member(tmp_path):
    root = write(tmp_path / "d.zip", pngs(3))
    data = bytearray(root.read_bytes())
    at = data.index(b"001.png") + 40
    data[at] ^= 255
    root.write_bytes(data)
    with pytest.raises(DataError, match=r"1 of 3 .*001\.png is unreadable"):
        build(root).split("train")


def test_zip_bombs_and_foreign_members(tmp_path, monkeypatch):
    root = write(tmp_path / "d.zip", pngs(2))
    monkeypatch.setattr(sources, "MAX_MEMBER_BYTES", 100)
    with pytest.raises(DataError, match=r"000\.png claims \d+ bytes, more than 100"):
        build(root).split("train")
    monkeypatch.undo()
    with zipfile.ZipFile(tmp_path / "l.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.png", b"x")
    with pytest.raises(DataError, match="not stored or deflated"):
        build(tmp_path / "l.zip").split("train")


def test_picture_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr("gan_bench.data.decode.MAX_PIXELS", 63)
    with pytest.raises(DataError, match="8x8 is more than 63 pixels"):
        one(tmp_path, pngs(1)["000.png"], image_size=8)


def test_zip_source_survives_fork_and_pickling(tmp_path):
    files = pngs(3)
    source = ZipSource(write(tmp_path / "d.zip", files))
    copied = pickle.loads(pickle.dumps(source))
    assert [copied.read(i) for i in range(3)] == list(files.values())
    read_end, write_end = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch's threads: the child only reads
        child = os.fork()
    if child == 0:
        os.write(write_end, bytes([source.read(1) == files["001.png"]]))
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read_end, 1) == b"\x01"
    assert source.read(2) == files["002.png"]
    os.close(read_end)
    os.close(write_end)


# Digests and the cache


@pytest.mark.parametrize("kind", ["d", "d.zip"])
def test_digest_of_files(tmp_path, kind):
    def digest(root: Path, **options) -> str:
        return build(root, in_memory_limit_mb=0, **options).split("train").digest()

    root = write(tmp_path / kind, pngs(3))
    first = digest(root)
    assert first == digest(root)
    assert first != digest(root, image_size=4)
    assert first != digest(root, channels=1)
    other = pngs(3)
    other["001.png"] = pngs(5)["004.png"]
    assert first != digest(write(tmp_path / f"x{kind}", other))


def test_cache_is_used_and_mended(tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "CACHE_AFTER_SECONDS", 0.0)
    root = write(tmp_path / "d", pngs(3))
    expected = build(root).split("train").images(range(3))
    (cached,) = (loading.cache_dir() / "datasets").iterdir()
    decoder = loading._decode_all
    monkeypatch.setattr(loading, "_decode_all", lambda *_: pytest.fail("decoded again"))
    split = build(root).split("train")
    assert torch.equal(split.images(range(3)), expected)
    split.tensor.zero_()  # copy-on-write: the file stays
    assert torch.equal(build(root).split("train").images(range(3)), expected)
    monkeypatch.setattr(loading, "_decode_all", decoder)
    whole = cached.read_bytes()
    for damage in (whole[:-7], b"", b"x" * len(whole), whole.replace(b"(3, 3,", b"(2, 3,")):
        cached.write_bytes(damage)
        assert torch.equal(build(root).split("train").images(range(3)), expected)
        assert cached.read_bytes() == whole


def test_a_cache_that_cannot_be_written_costs_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "CACHE_AFTER_SECONDS", 0.0)
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("GAN_BENCH_CACHE", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="no cache of decoded images"):
        assert len(build(write(tmp_path / "d", pngs(3))).split("train")) == 3


def test_threads_decode_the_same(tmp_path, monkeypatch):
    root = write(tmp_path / "d", pngs(20))
    expected = build(root).split("train").images(range(20))
    monkeypatch.setattr(loading, "_THREADS_FROM_BYTES", 0)
    monkeypatch.setattr(loading, "_CHUNK", 3)
    monkeypatch.setattr(loading.os, "cpu_count", lambda: 3)
    assert torch.equal(build(root).split("train").images(range(20)), expected)


# CelebA-HQ


def test_celeba_hq(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CELEBA_HQ_IMAGES", 5)
    monkeypatch.setattr(module, "CELEBA_HQ_TEST", 2)
    root = write(tmp_path / "hq", pngs(5, size=256))
    dataset = DATASETS.build("celeba_hq", root=str(root), in_memory_limit_mb=0)
    train, test = dataset.split("train"), dataset.split("test")
    assert [test.name(i) for i in range(2)] == ["003.png", "004.png"]
    assert (len(train), dataset.num_classes, train.labels) == (3, None, None)
    means = noise(256, 256, 3, seed=4).reshape(128, 2, 128, 2, 3).mean((1, 3))
    assert np.abs(hwc(test.images([1])[0]) - means).max() <= 1
    (root / "004.png").unlink()
    with pytest.raises(DataError, match="holds 4 images, CelebA-HQ has 5"):
        DATASETS.build("celeba_hq", root=str(root)).split("train")
