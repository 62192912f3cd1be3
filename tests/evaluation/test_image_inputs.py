"""Tensors, folders, zips and .npz files of the same images are the same to the evaluator."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from gan_bench.errors import ConfigError, DataError, GanBenchError
from gan_bench.evaluation.sources import TensorSource, batches, draw, open_source


def images(count: int = 7, channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, channels, 9, 8), generator=generator, dtype=torch.uint8)


def save(folder: Path, pixels: Tensor, suffix: str = ".png") -> Path:
    for index, image in enumerate(pixels):
        path = folder / f"class{index % 2}" / f"{index:03d}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        array = image.permute(1, 2, 0).numpy()
        Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array).save(path)
    return folder


def pack(folder: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.*"), reverse=True):
            archive.write(file, file.relative_to(folder))
        archive.writestr("__MACOSX/._000.png", b"no image")
        archive.writestr("labels.json", b"{}")
    return path


@pytest.mark.parametrize("channels", [1, 3])
def test_every_kind_of_source_gives_the_same_images(tmp_path: Path, channels: int) -> None:
    pixels = images(channels=channels)
    by_name = torch.cat([pixels[::2], pixels[1::2]])  # class0/ before class1/
    folder = save(tmp_path / "folder", pixels)
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden.png").write_text("no image")
    np.savez(tmp_path / "nchw.npz", by_name.numpy())
    np.savez(tmp_path / "nhwc.npz", images=by_name.permute(0, 2, 3, 1).numpy(), labels=[1])
    inputs = [
        by_name,
        by_name.numpy(),
        TensorSource(by_name),
        folder,
        str(folder),
        pack(folder, tmp_path / "images.zip"),
        tmp_path / "nchw.npz",
        tmp_path / "nhwc.npz",
    ]
    sources = [open_source(each, "generated") for each in inputs]
    for source in sources:
        assert len(source) == 7
        assert torch.equal(source.images([0, 6, 3]), by_name[[0, 6, 3]])
        found = [each.images for each in batches(source, np.arange(7), 3, "generated")]
        assert [len(each) for each in found] == [3, 3, 1]
        assert torch.equal(torch.cat(found), by_name)
    assert len({source.digest() for source in sources}) == 1
    other = by_name.clone()
    other[0, 0, 0, 0] += 1
    assert TensorSource(other).digest() != sources[0].digest()


def test_a_palette_is_read_as_colour(tmp_path: Path) -> None:
    picture = Image.fromarray(images(1)[0].permute(1, 2, 0).numpy()).quantize(16)
    picture.save(tmp_path / "a.png")
    expected = np.array(picture.convert("RGB")).transpose(2, 0, 1)
    found = open_source(tmp_path, "generated").images([0])[0].numpy()
    np.testing.assert_array_equal(found, expected)


Maker = Callable[[Path], Any]


def _file(name: str, content: bytes) -> Maker:
    def make(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content)
        return path

    return make


def _picture(mode: str) -> Maker:
    def make(folder: Path) -> Path:
        Image.new(mode, (8, 9)).save(folder / "odd.png")
        return folder

    return make


def _torn(folder: Path) -> Path:
    save(folder, images(2))
    path = folder / "class0" / "000.png"
    path.write_bytes(path.read_bytes()[:60])
    return folder


def _two_sizes(folder: Path) -> Path:
    save(folder, images(2))
    Image.new("RGB", (5, 5)).save(folder / "z.png")
    return folder


def _npz(**arrays: Any) -> Maker:
    def make(folder: Path) -> Path:
        np.savez(folder / "a.npz", **arrays)
        return folder / "a.npz"

    return make


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda folder: images().float(), DataError, "uint8 from 0 to 255, not float32"),
        (lambda folder: images().float().numpy(), DataError, "uint8 from 0 to 255, not float32"),
        (lambda folder: images()[0], DataError, r"\(N, C, H, W\) with N > 0"),
        (lambda folder: images()[:0], DataError, r"\(N, C, H, W\) with N > 0"),
        (lambda folder: 3, ConfigError, "can't be a int"),
        (lambda folder: folder / "none", DataError, "does not exist"),
        (lambda folder: folder, DataError, "holds no images"),
        (_file("a.tar", b""), ConfigError, "neither a folder"),
        (_file("a.zip", b"no zip"), DataError, "neither a folder nor a readable zip"),
        (_file("a.npz", b"no zip"), DataError, "can't be read as an .npz"),
        (_npz(x=np.zeros(3), y=np.zeros(3)), DataError, "one array"),
        (_npz(x=np.array([{}])), DataError, "can't be read as an .npz"),
        (_npz(x=np.zeros((2, 1, 8, 8))), DataError, "uint8 from 0 to 255, not float64"),
        (_torn, DataError, "000.png is unreadable"),
        (_two_sizes, DataError, "z.png is .* all images must have one size"),
        (_picture("RGBA"), DataError, "odd.png has mode RGBA"),
        (_picture("I;16"), DataError, "odd.png has mode I;16"),
    ],
)
def test_unsuitable_images_are_one_line(
    tmp_path: Path, make: Maker, kind: type[GanBenchError], words: str
) -> None:
    with pytest.raises(kind, match=words) as caught:
        source = open_source(make(tmp_path), "generated")
        list(batches(source, np.arange(len(source)), 10, "generated"))
    assert "\n" not in str(caught.value)


def test_sizes_that_differ_between_batches_are_told(tmp_path: Path) -> None:
    source = open_source(_two_sizes(tmp_path), "generated")
    with pytest.raises(DataError, match="differ in shape"):
        list(batches(source, np.arange(3), 2, "generated"))


def test_a_file_that_disappears_is_named(tmp_path: Path) -> None:
    source = open_source(save(tmp_path, images(2)), "generated")
    (tmp_path / "class1" / "001.png").unlink()
    with pytest.raises(DataError, match="class1/001.png is unreadable"):
        source.images([1])


def test_a_sampler_is_asked_until_there_are_enough() -> None:
    asked = []

    def sampler(count: int) -> Tensor:
        asked.append(count)
        return images(3)

    found = [each.images for each in draw(sampler, 8, 4)]
    assert asked == [4, 4, 2]
    assert [len(each) for each in found] == [3, 3, 2]


def test_classes_come_from_folders_files_and_samplers(tmp_path: Path) -> None:
    pixels = images(4)
    labels = torch.tensor([0, 1, 0, 1])
    np.savez(tmp_path / "a.npz", arr_0=pixels.numpy(), arr_1=labels.numpy())
    folder = save(tmp_path / "folder", pixels)  # class0/ before class1/
    for path, expected in ((tmp_path / "a.npz", labels), (folder, torch.tensor([0, 0, 1, 1]))):
        source = open_source(path, "generated")
        (batch,) = batches(source, np.arange(4), 9, "generated", labels=True)
        assert torch.equal(batch.labels, expected)
    (batch,) = draw(lambda count: (pixels, labels), 3, 9)
    assert torch.equal(batch.labels, labels[:3])
    # sub-folders that are splits are no classes
    nested = save(tmp_path / "nested" / "test", images(2)).parent
    Image.new("RGB", (8, 9)).save(nested / "stray.png")
    assert open_source(nested, "generated").labels is None


def test_unquantized_images_must_be_on_the_scale_of_pixels() -> None:
    pixels = images().float() / 3
    (batch,) = draw(lambda count: pixels, 7, 9, torch.float32)
    assert torch.equal(batch.images, pixels)
    for wrong in (pixels / 255, pixels - 5, pixels * 4, images()):
        with pytest.raises(DataError, match="float32 from 0 to 255"):
            list(draw(lambda count, wrong=wrong: wrong, 7, 9, torch.float32))


@pytest.mark.parametrize(
    "answer", [images().float(), images()[:0], images()[0], images().numpy(), None]
)
def test_a_sampler_of_something_else_is_one_line(answer: Any) -> None:
    with pytest.raises(DataError, match="sampler must be"):
        list(draw(lambda count: answer, 4, 4))
