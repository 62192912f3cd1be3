"""The 8 x 8 digits that scikit-learn carries: real data without a download."""

from __future__ import annotations

import functools
from importlib.metadata import version

import numpy as np
import torch

from gan_bench.data.splits import SplitDataset, TensorSplit
from gan_bench.registry import DATASETS


@DATASETS.register("digits", source="Alpaydin & Kaynak 1998, UCI test set, via scikit-learn")
def digits() -> SplitDataset:
    """1797 handwritten digits, 8x8x1, 10 classes; 1438 to train, 359 to test.

    The values 0..16 become round(v * 255 / 16). Every fifth image (index % 5 == 4, in the
    library's order) is a test image: a rule that no version of a shuffle can change.
    """
    splits = {name: functools.partial(_load, name) for name in ("train", "test")}
    return SplitDataset("digits", (1, 8, 8), 10, splits, stamp=lambda _: version("scikit-learn"))


def _load(name: str) -> TensorSplit:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    index = np.arange(len(bunch.target))
    chosen = (index % 5 == 4) == (name == "test")
    pixels = np.rint(bunch.images[chosen] * (255.0 / 16.0)).astype(np.uint8)
    labels = bunch.target[chosen].astype(np.int64)
    return TensorSplit(torch.from_numpy(pixels[:, None]), torch.from_numpy(labels))
