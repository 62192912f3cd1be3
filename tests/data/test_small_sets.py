"""Digits, pixels, and the sets that torchvision's files hold."""

import gzip
import os
import pickle
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import gan_bench.data  # noqa: F401  registers the data sets
from gan_bench.data import image_files, torchvision_sets
from gan_bench.data.pixels import to_float, to_uint8
from gan_bench.data.splits import TensorSplit
from gan_bench.errors import ConfigError, DataError
from gan_bench.registry import DATASETS

REAL = os.environ.get("GAN_BENCH_TEST_DATA", "")
needs_real_data = [
    pytest.mark.real_data,
    pytest.mark.skipif(not REAL, reason="GAN_BENCH_TEST_DATA names no folder of real data"),
]


def test_pixels_survive_the_round_trip():
    pixels = torch.arange(256, dtype=torch.uint8)
    floats = to_float(pixels)
    assert floats.dtype == torch.float32
    assert floats[0] == -1
    assert floats[255] == 1
    assert torch.equal(to_uint8(floats), pixels)


def test_pixels_outside_the_range_are_clamped():
    assert to_uint8(torch.tensor([-7.0, 1.5, torch.inf, 0.0])).tolist() == [0, 255, 255, 128]


def test_pixels_refuse_nan_and_wrong_types():
    with pytest.raises(ValueError, match="NaN"):
        to_uint8(torch.tensor([0.0, float("nan")]))
    with pytest.raises(TypeError, match="uint8"):
        to_float(torch.zeros(3))
    with pytest.raises(TypeError, match="floating"):
        to_uint8(torch.zeros(3, dtype=torch.int64))


def test_importing_the_package_imports_no_image_library():
    code = (
        "import sys, gan_bench.data; "
        "print([m for m in ('torchvision', 'sklearn', 'PIL', 'lmdb') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_set_is_built_without_its_files():
    names = {"digits", "mnist", "fashion_mnist", "cifar10", "svhn", "celeba", "celeba_hq"}
    names |= {"lsun_bedroom", "image_files"}
    assert names <= set(DATASETS.names())
    for name in names:
        assert DATASETS.build(name).name == name


def test_digits():
    dataset = DATASETS.build("digits")
    train, test = dataset.split("train"), dataset.split("test")
    assert (len(train), len(test)) == (1438, 359)
    assert dataset.image_shape == (1, 8, 8)
    assert dataset.num_classes == 10
    assert test is dataset.split("test")
    from sklearn.datasets import load_digits

    bunch = load_digits()
    assert test.labels.tolist() == bunch.target[4::5].tolist()
    for split in (train, test):
        images = split.images(range(len(split)))
        assert images.dtype == torch.uint8
        assert images.shape[1:] == (1, 8, 8)
        assert (images.min(), images.max()) == (0, 255)
        assert split.labels.dtype == torch.int64
        assert split.labels.bincount().min() >= 0.5 * len(split) / 10
    assert int(test.images([0])[0, 0, 0, 3]) == round(bunch.images[4][0, 3] * 255 / 16)


def test_digest_follows_content():
    images = torch.arange(32, dtype=torch.uint8).reshape(2, 1, 4, 4)
    labels = torch.tensor([0, 1])
    digests = {
        TensorSplit(images).digest(),
        TensorSplit(images, labels).digest(),
        TensorSplit(images, labels.flip(0)).digest(),
        TensorSplit(images.reshape(2, 1, 2, 8)).digest(),
        TensorSplit(images.flip(0)).digest(),
    }
    assert len(digests) == 5
    assert TensorSplit(images.clone(), labels).digest() in digests


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (torch.zeros(2, 1, 4, 4), None),
        (torch.zeros(2, 4, 4, dtype=torch.uint8), None),
        (torch.zeros(0, 1, 4, 4, dtype=torch.uint8), None),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(3)),
    ],
)
def test_tensor_split_refuses(images, labels):
    with pytest.raises(DataError):
        TensorSplit(images, labels)


def test_unknown_split_and_option():
    with pytest.raises(ConfigError, match="did you mean 'test'"):
        DATASETS.build("digits").split("tset")
    with pytest.raises(ConfigError, match="did you mean 'root'"):
        DATASETS.build("mnist", rot="x")


# IDX files


def idx_bytes(array: np.ndarray) -> bytes:
    header = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def write_idx(folder: Path, labels: np.ndarray, split: str = "test", packed: bool = False):
    """Write a small set in the IDX format; return its images and the paths."""
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 28, 28), dtype=np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, array in zip(torchvision_sets.IDX_FILES[split], (images, labels), strict=True):
        data = idx_bytes(array)
        path = folder / (name + ".gz" if packed else name)
        path.write_bytes(gzip.compress(data) if packed else data)
        paths.append(path)
    return images, paths


@pytest.fixture
def balanced(monkeypatch):
    """Labels of a Fashion-MNIST of 20 images."""
    monkeypatch.setitem(torchvision_sets.IDX_COUNTS, "test", 20)
    return np.arange(20) % 10


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("place", ["", "FashionMNIST/raw", "fashion_mnist"])
def test_idx_files_are_found_and_read(tmp_path, balanced, packed, place):
    images, _ = write_idx(tmp_path / place, balanced, packed=packed)
    split = DATASETS.build("fashion_mnist", root=str(tmp_path)).split("test")
    assert np.array_equal(split.images(range(20))[:, 0].numpy(), images)
    assert split.labels.tolist() == balanced.tolist()


def test_fashion_mnist_refuses_what_is_not_balanced(tmp_path, balanced):
    write_idx(tmp_path, np.zeros(20))
    with pytest.raises(DataError, match="does not hold Fashion-MNIST"):
        DATASETS.build("fashion_mnist", root=str(tmp_path)).split("test")


def test_mnist_refuses_another_md5(tmp_path):
    write_idx(tmp_path / "MNIST" / "raw", np.arange(20) % 10)
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte is not MNIST's .* MD5"):
        DATASETS.build("mnist", root=str(tmp_path)).split("test")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-5], "truncated or damaged"),
        (lambda data: data + b"x", "truncated or damaged"),
        (lambda data: b"\x00\x00\x0d\x03" + data[4:], "no IDX file"),
        (lambda data: data[:9], "no IDX file"),
        (lambda data: b"", "no IDX file"),
    ],
)
def test_damaged_idx_file(tmp_path, balanced, damage, message):
    _, (path, _) = write_idx(tmp_path, balanced)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=f"{path.name} .*{message}"):
        DATASETS.build("fashion_mnist", root=str(tmp_path)).split("test")


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-20],
        lambda data: data[:100] + bytes(8) + data[108:],
        lambda data: b"not a gzip",
    ],
)
def test_damaged_gzip(tmp_path, balanced, damage):
    _, (path, _) = write_idx(tmp_path, balanced, packed=True)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=rf"{path.name} is corrupt or truncated"):
        DATASETS.build("fashion_mnist", root=str(tmp_path)).split("test")


def test_images_and_labels_must_be_as_many(tmp_path, balanced):
    _, (_, path) = write_idx(tmp_path, balanced)
    path.write_bytes(idx_bytes(balanced[:-1]))
    with pytest.raises(DataError, match="20 images but .* 19 labels"):
        DATASETS.build("fashion_mnist", root=str(tmp_path)).split("test")


# Missing data


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("mnist", "t10k-images-idx3-ubyte"),
        ("fashion_mnist", "t10k-images-idx3-ubyte"),
        ("cifar10", "test.zip"),
        ("svhn", "test_32x32.mat"),
        ("celeba", "list_eval_partition.txt"),
        ("lsun_bedroom", "bedroom_train_lmdb"),
        ("celeba_hq", "missing"),
        ("image_files", "missing"),
    ],
)
def test_missing_data_is_one_line_that_says_where_and_what(tmp_path, name, word):
    root = str(tmp_path / "nowhere")
    with pytest.raises(DataError) as caught:
        DATASETS.build(name, root=root).split("test")
    message = str(caught.value)
    assert word in message
    assert root in message
    assert "\n" not in message
    assert "root" in message.replace(root, "")


@pytest.mark.parametrize(
    ("name", "torchvision_name"),
    [
        ("mnist", "MNIST"),
        ("fashion_mnist", "FashionMNIST"),
        ("cifar10", "CIFAR10"),
        ("svhn", "SVHN"),
        ("celeba", "CelebA"),
    ],
)
def test_failed_download_is_one_line(tmp_path, monkeypatch, name, torchvision_name):
    import torchvision.datasets

    def refuse(*args, **options):
        assert options["download"]
        raise OSError("no route\nto host")

    monkeypatch.setattr(torchvision.datasets, torchvision_name, refuse)
    with pytest.raises(DataError, match="can't be downloaded: no route to host"):
        DATASETS.build(name, root=str(tmp_path), download=True).split("test")


def test_download_fills_the_root(tmp_path, monkeypatch, balanced):
    import torchvision.datasets

    def download(root, download):
        write_idx(Path(root) / "FashionMNIST" / "raw", balanced)

    monkeypatch.setattr(torchvision.datasets, "FashionMNIST", download)
    split = DATASETS.build("fashion_mnist", root=str(tmp_path), download=True).split("test")
    assert len(split) == 20


# CIFAR-10 and SVHN


def write_batches(root: Path, monkeypatch) -> dict[str, np.ndarray]:
    """Write a small CIFAR-10 in its published format, and make its digests the expected ones."""
    from torchvision.datasets import CIFAR10

    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    contents = {}

    def write(name: str, value: object) -> list[str]:
        data = pickle.dumps(value)
        (folder / name).write_bytes(data)
        return [name, torchvision_sets.idx.md5(data)]

    lists = {"train_list": ["data_batch_1", "data_batch_2"], "test_list": ["test_batch"]}
    for attribute, names in lists.items():
        digests = []
        for name in names:
            contents[name] = rng.integers(0, 256, (20, 3072), dtype=np.uint8)
            digests.append(write(name, {"data": contents[name], "labels": list(range(10)) * 2}))
        monkeypatch.setattr(CIFAR10, attribute, digests)
    name, digest = write("batches.meta", {"label_names": list("abcdefghij")})
    meta = {"filename": name, "key": "label_names", "md5": digest}
    monkeypatch.setattr(CIFAR10, "meta", meta)
    return contents


@pytest.mark.parametrize("place", ["", "cifar10"])
def test_cifar10_batches(tmp_path, monkeypatch, place):
    contents = write_batches(tmp_path / place, monkeypatch)
    dataset = DATASETS.build("cifar10", root=str(tmp_path))
    test, train = dataset.split("test"), dataset.split("train")
    assert np.array_equal(test.images([7])[0].numpy().ravel(), contents["test_batch"][7])
    assert (len(train), test.labels.tolist()) == (40, list(range(10)) * 2)


def test_corrupt_cifar10_batches(tmp_path, monkeypatch):
    write_batches(tmp_path, monkeypatch)
    path = tmp_path / "cifar-10-batches-py" / "test_batch"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="cifar-10-batches-py is incomplete or corrupt"):
        DATASETS.build("cifar10", root=str(tmp_path)).split("test")


def test_cifar10_images(tmp_path, monkeypatch):
    import PIL.Image

    monkeypatch.setitem(torchvision_sets.CIFAR10_COUNTS, "test", 10)
    for number, name in enumerate(torchvision_sets.CIFAR10_CLASSES):
        (tmp_path / "test" / name).mkdir(parents=True)
        PIL.Image.new("RGB", (32, 32), (number, 0, 9)).save(tmp_path / "test" / name / "1.png")
    (tmp_path / "train").mkdir()
    split = DATASETS.build("cifar10", root=str(tmp_path)).split("test")
    assert split.labels.tolist() == list(range(10))
    assert split.images(range(10))[:, 0, 0, 0].tolist() == list(range(10))
    (tmp_path / "test" / "cat" / "1.png").rename(tmp_path / "test" / "dog" / "2.png")
    with pytest.raises(DataError, match="not CIFAR-10's test split"):
        DATASETS.build("cifar10", root=str(tmp_path)).split("test")
    with pytest.raises(DataError, match="holds no images"):
        DATASETS.build("cifar10", root=str(tmp_path)).split("train")


def test_svhn(tmp_path, monkeypatch):
    from scipy.io import savemat
    from torchvision.datasets import SVHN

    pixels = np.random.default_rng(2).integers(0, 256, (32, 32, 3, 5), dtype=np.uint8)
    path = tmp_path / "test_32x32.mat"
    savemat(path, {"X": pixels, "y": np.array([[1], [2], [10], [9], [10]], dtype=np.uint8)})
    digest = torchvision_sets.idx.md5(path.read_bytes())
    monkeypatch.setitem(SVHN.split_list, "test", ["", path.name, digest])
    split = DATASETS.build("svhn", root=str(tmp_path)).split("test")
    assert split.labels.tolist() == [1, 2, 0, 9, 0]
    assert np.array_equal(split.images([3])[0].numpy(), pixels[..., 3].transpose(2, 0, 1))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"test_32x32\.mat is corrupt"):
        DATASETS.build("svhn", root=str(tmp_path)).split("test")


# Real data


class TestRealData:
    pytestmark = needs_real_data

    @pytest.mark.parametrize(("name", "count"), [("train", 60_000), ("test", 10_000)])
    def test_mnist(self, name, count):
        split = DATASETS.build("mnist", root=str(Path(REAL) / "mnist")).split(name)
        assert split.images([0]).shape == (1, 1, 28, 28)
        assert len(split) == count
        firsts = {"train": [5, 0, 4, 1, 9, 2], "test": [7, 2, 1, 0, 4, 1]}
        assert split.labels[:6].tolist() == firsts[name]

    @pytest.mark.parametrize("name", ["train", "test"])
    def test_cifar10(self, name):
        split = DATASETS.build("cifar10", root=REAL).split(name)
        count = torchvision_sets.CIFAR10_COUNTS[name]
        assert len(split) == count
        assert split.labels.bincount().tolist() == [count // 10] * 10
        if name == "train":
            values = torch.arange(256).double() / 255
            planes = split.tensor.unbind(1)
            shares = torch.stack([plane.flatten().bincount(minlength=256) for plane in planes])
            shares = shares.double() / planes[0].numel()
            means = shares @ values
            deviations = (shares @ values**2 - means**2).sqrt().tolist()
            means = means.tolist()
            assert means == pytest.approx([0.49140, 0.48216, 0.44653], abs=5e-6)
            assert deviations == pytest.approx([0.24703, 0.24349, 0.26159], abs=5e-6)

    def test_image_files_reads_the_same_pixels(self):
        options = {"root": f"{REAL}/cifar10/test.zip", "image_size": 32, "resize": "none"}
        dataset = image_files.image_files(**options, test_fraction=0.0, in_memory_limit_mb=0)
        reference = DATASETS.build("cifar10", root=REAL).split("test")
        indices = list(range(0, 10_000, 97))
        split = dataset.split("train")
        assert not split.in_memory
        assert torch.equal(split.images(indices), reference.images(indices))
        assert torch.equal(split.labels, reference.labels)
