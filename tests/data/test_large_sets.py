"""CelebA and LSUN on tiny files in their own formats."""

import io
import zipfile

import numpy as np
import PIL.Image
import pytest
import torch

from gan_bench.data import large_sets
from gan_bench.data.stream import BatchStream
from gan_bench.errors import ConfigError, DataError
from gan_bench.registry import DATASETS


def noise(height: int, width: int, seed: int) -> PIL.Image.Image:
    rng = np.random.default_rng(seed)
    return PIL.Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.fixture
def celeba(tmp_path):
    """Six images in torchvision's layout, two of each split."""
    folder = tmp_path / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    for number in range(1, 7):
        noise(218, 178, number).save(folder / "img_align_celeba" / f"{number:06}.jpg", quality=90)
    lines = [f"{number:06}.jpg {(number - 1) // 2}\n" for number in range(1, 7)]
    (folder / large_sets.PARTITION).write_text("".join(lines))
    return folder


@pytest.mark.parametrize("limit", [0, 1])
@pytest.mark.parametrize("packed", [False, True])
def test_celeba(celeba, tmp_path, packed, limit):
    images = celeba / "img_align_celeba"
    originals = {path.name: PIL.Image.open(path).convert("RGB") for path in images.iterdir()}
    if packed:
        with zipfile.ZipFile(celeba / "img_align_celeba.zip", "w") as archive:
            for path in sorted(images.iterdir()):
                archive.write(path, f"img_align_celeba/{path.name}")
        for path in images.iterdir():
            path.unlink()
        images.rmdir()
    dataset = DATASETS.build("celeba", root=str(tmp_path), in_memory_limit_mb=limit)
    for split_number, name in enumerate(("train", "valid", "test")):
        split = dataset.split(name)
        assert (len(split), split.in_memory, split.labels) == (2, limit > 0, None)
        original = originals[f"{2 * split_number + 2:06}.jpg"]
        expected = original.crop((9, 29, 169, 189)).resize((64, 64), PIL.Image.Resampling.LANCZOS)
        assert np.array_equal(split.images([1])[0].permute(1, 2, 0), np.asarray(expected))


def test_celeba_damage(celeba, tmp_path):
    (celeba / "img_align_celeba" / "000002.jpg").unlink()
    with pytest.raises(DataError, match=r"lacks 1 of 2 images .* 000002\.jpg"):
        DATASETS.build("celeba", root=str(tmp_path)).split("train")
    (celeba / large_sets.PARTITION).write_text("000001.jpg 0\n000002.jpg\n")
    with pytest.raises(DataError, match="line 2"):
        DATASETS.build("celeba", root=str(tmp_path)).split("train")
    with pytest.raises(ConfigError, match="resized to 64"):
        DATASETS.build("celeba", resize="none")


SIZES = [(256, 300), (256, 256), (100, 200), (300, 256), (128, 128), (257, 341)]


@pytest.fixture
def bedrooms(tmp_path, monkeypatch):
    """Six images in LSUN's format, the last two of them to test."""
    lmdb = pytest.importorskip("lmdb", reason="the package lmdb is not installed")
    monkeypatch.setattr(large_sets, "LSUN_TEST", 2)
    images = {}
    with (
        lmdb.open(str(tmp_path / "bedroom_train_lmdb"), map_size=1 << 26) as environment,
        environment.begin(write=True) as transaction,
    ):
        for number, size in enumerate(SIZES):
            stream = io.BytesIO()
            image = images[f"{number:040x}"] = noise(*size, number)
            image.save(stream, "WEBP", lossless=True)
            transaction.put(f"{number:040x}".encode(), stream.getvalue())
    return images


def test_lsun(bedrooms, tmp_path):
    dataset = DATASETS.build("lsun_bedroom", root=str(tmp_path), in_memory_limit_mb=0)
    train, test = dataset.split("train"), dataset.split("test")
    assert (len(train), len(test)) == (4, 2)
    assert test.name(1) == f"{5:040x}"
    large = np.asarray(bedrooms[f"{0:040x}"])
    assert np.array_equal(train.images([0])[0].permute(1, 2, 0), large[64:192, 86:214])
    small = train.images([2])[0].permute(1, 2, 0).numpy()  # 100 high: padded
    assert np.array_equal(small[14:114], np.asarray(bedrooms[f"{2:040x}"])[:, 36:164])
    assert not small[:14].any()
    assert not small[114:].any()
    odd = np.asarray(bedrooms[f"{5:040x}"])  # 257 x 341: the lesser half is cut at the top left
    assert np.array_equal(test.images([1])[0].permute(1, 2, 0), odd[64:192, 106:234])


def test_lsun_in_loader_processes(bedrooms, tmp_path):
    dataset = DATASETS.build("lsun_bedroom", root=str(tmp_path), in_memory_limit_mb=0)
    split = dataset.split("train")
    split.images([0])  # the environment is open before the processes start
    with (
        BatchStream(split, 3, 0, "cpu", workers=2) as several,
        BatchStream(split, 3, 0, "cpu") as single,
    ):
        for _ in range(4):
            assert torch.equal(several.next()[0], single.next()[0])
    assert len(split.images([1])) == 1


def test_lsun_twice_in_a_process(bedrooms, tmp_path):
    first, second = (DATASETS.build("lsun_bedroom", root=str(tmp_path)) for _ in range(2))
    assert first.split("test").digest() == second.split("test").digest()


def test_lsun_refusals(bedrooms, tmp_path, monkeypatch):
    monkeypatch.setattr(large_sets, "LSUN_TEST", 6)
    with pytest.raises(DataError, match="holds 6 images, too few"):
        DATASETS.build("lsun_bedroom", root=str(tmp_path)).split("test")
    (tmp_path / "bedroom_train_lmdb" / "data.mdb").write_bytes(b"x" * 100_000)
    with pytest.raises(DataError, match="can't be read as an LMDB"):
        DATASETS.build("lsun_bedroom", root=str(tmp_path)).split("test")


def test_lsun_without_its_package(tmp_path, monkeypatch):
    (tmp_path / "data.mdb").write_bytes(b"x")
    monkeypatch.setitem(__import__("sys").modules, "lmdb", None)
    with pytest.raises(DataError, match="needs the package lmdb"):
        DATASETS.build("lsun_bedroom", root=str(tmp_path)).split("test")
