"""Data sets, their splits and the stream of training batches; importing it registers the sets."""

from gan_bench.data import digits, image_files, large_sets, torchvision_sets
from gan_bench.data.pixels import to_float, to_uint8
from gan_bench.data.splits import FileSplit, SplitDataset, TensorSplit
from gan_bench.data.stream import BatchStream

__all__ = [
    "BatchStream",
    "FileSplit",
    "SplitDataset",
    "TensorSplit",
    "digits",
    "image_files",
    "large_sets",
    "to_float",
    "to_uint8",
    "torchvision_sets",
]
