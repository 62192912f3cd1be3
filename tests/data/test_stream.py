"""The batch stream: order, exact resumption, loader processes."""

import multiprocessing

import numpy as np
import PIL.Image
import pytest
import torch

from gan_bench.data.decode import Preprocessing
from gan_bench.data.sources import FolderSource
from gan_bench.data.splits import FileSplit, TensorSplit
from gan_bench.data.stream import BatchStream, epoch_order
from gan_bench.errors import ConfigError, DataError

COUNT = 11


def numbered(labels: bool = True) -> TensorSplit:
    """Images whose every pixel is their index, and labels 100 + index."""
    images = torch.arange(COUNT, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 2, 3)
    return TensorSplit(images.contiguous(), 100 + torch.arange(COUNT) if labels else None)


@pytest.fixture
def files(tmp_path) -> FileSplit:
    """The same images as PNG files."""
    for index in range(COUNT):
        PIL.Image.new("L", (3, 2), index).save(tmp_path / f"{index:02}.png")
    return FileSplit(
        FolderSource(tmp_path),
        Preprocessing(channels=1, crop="none"),
        (1, 2, 3),
        labels=100 + torch.arange(COUNT),
    )


def drawn(stream: BatchStream, batches: int) -> list[int]:
    """Draw batches; return the images' indices."""
    found = []
    for _ in range(batches):
        images, labels = stream.next()
        assert images.dtype == torch.float32
        indices = ((images[:, 0, 0, 0] + 1) * 127.5).round().long()
        if labels is not None:
            assert torch.equal(labels, indices + 100)
        found += indices.tolist()
    return found


def test_every_epoch_is_another_permutation():
    stream = BatchStream(numbered(), 4, 7, "cpu")
    indices = np.array(drawn(stream, 3 * COUNT))[: 12 * COUNT].reshape(12, COUNT)
    assert np.array_equal(np.sort(indices), np.tile(np.arange(COUNT), (12, 1)))
    assert len({tuple(row) for row in indices}) == 12
    assert stream.position == 12 * COUNT


def test_image_k_is_as_documented():
    indices = drawn(BatchStream(numbered(), 4, 7, "cpu"), 8)
    orders = [epoch_order(COUNT, 7, epoch) for epoch in range(3)]
    assert indices == [int(orders[k // COUNT][k % COUNT]) for k in range(32)]


def test_order_is_pinned():
    """A change here would break the resumption of runs made before."""
    assert epoch_order(8, 0, 0).tolist() == [4, 3, 7, 5, 0, 6, 1, 2]


def test_seeds_differ():
    assert not torch.equal(epoch_order(100, 0, 1), epoch_order(100, 1, 0))
    assert not torch.equal(epoch_order(100, 1, 1), epoch_order(100, 1, 11))


@pytest.mark.parametrize("batch_size", [1, 4, COUNT, 3 * COUNT + 5])
def test_seek_continues_exactly(batch_size):
    stream = BatchStream(numbered(), batch_size, 3, "cpu")
    drawn(stream, 5)
    position = stream.position
    expected = drawn(stream, 4)
    other = BatchStream(numbered(), batch_size, 3, "cpu")
    other.seek(position)
    assert drawn(other, 4) == expected
    stream.seek(position)
    assert drawn(stream, 4) == expected


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("batch_size", [4, 2 * COUNT + 1])
def test_files_give_the_same_as_memory(files, workers, batch_size):
    expected = drawn(BatchStream(numbered(), batch_size, 5, "cpu"), 9)
    with BatchStream(files, batch_size, 5, "cpu", workers=workers) as stream:
        assert drawn(stream, 6) == expected[: 6 * batch_size]
        stream.seek(2 * batch_size)
        assert drawn(stream, 2) == expected[2 * batch_size : 4 * batch_size]
        stream.seek(4 * batch_size)  # where it is already: goes on
        assert drawn(stream, 5) == expected[4 * batch_size :]
    assert not multiprocessing.active_children()
    stream.close()
    with pytest.raises(RuntimeError, match="closed"):
        stream.next()


def test_a_stream_that_is_dropped_leaves_no_processes(files):
    stream = BatchStream(files, 4, 5, "cpu", workers=2)
    stream.next()
    assert multiprocessing.active_children()
    del stream
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("workers", [0, 1])
def test_torch_generator_is_left_alone(files, workers):
    state = torch.random.get_rng_state()
    with BatchStream(files, 4, 5, "cpu", workers=workers) as stream:
        stream.next()
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("workers", [0, 2])
def test_corrupt_file_is_one_line_and_can_be_mended(files, workers):
    path = files.source.root / "03.png"
    sound = path.read_bytes()
    path.write_bytes(sound[:40])
    expected = drawn(BatchStream(numbered(), 4, 5, "cpu"), 3)
    with BatchStream(files, 4, 5, "cpu", workers=workers) as stream:
        with pytest.raises(DataError, match=r"03\.png is unreadable") as caught:
            drawn(stream, 3)
        assert "\n" not in str(caught.value)
        position = stream.position
        assert 3 in expected[position : position + 4]
        path.write_bytes(sound)
        assert drawn(stream, 1) == expected[position : position + 4]


def test_without_labels():
    images, labels = BatchStream(numbered(labels=False), 4, 0, torch.device("cpu")).next()
    assert labels is None
    assert images.shape == (4, 1, 2, 3)


def test_refusals():
    with pytest.raises(ConfigError, match="batch_size"):
        BatchStream(numbered(), 0, 0, "cpu")
    with pytest.raises(ConfigError, match="processes"):
        BatchStream(numbered(), 1, 0, "cpu", workers=-1)
    with pytest.raises(ConfigError, match="position"):
        BatchStream(numbered(), 1, 0, "cpu").seek(-1)
