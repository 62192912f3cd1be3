"""MS-SSIM beside pytorch-msssim, torchmetrics and piq: `python -m benchmarks.ms_ssim`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import piq
import pytorch_msssim
import torch
from torch import Tensor
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from benchmarks.timing import Comparison, compare
from gan_bench.evaluation.metrics.ms_ssim import _all_pairs, multi_scale_ssim

LIBRARIES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "pytorch-msssim": lambda x, y: pytorch_msssim.ms_ssim(x, y, data_range=255, size_average=False),
    "torchmetrics": lambda x, y: multiscale_structural_similarity_index_measure(
        x, y, data_range=255.0, reduction="none"
    ),
    "piq": lambda x, y: piq.multi_scale_ssim(x, y, data_range=255.0, reduction="none"),
}
_PAIRS, _BATCH = 64, 16


def in_chunks(similarity: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Return the similarity of pairs, four at a time: large batches slow every library down."""
    parts = zip(x.split(4), y.split(4), strict=True)
    return torch.cat([similarity(one, two) for one, two in parts])


def measure() -> Iterator[Comparison]:
    """Compare pairs of 3 x 256 x 256 images, and all pairs of a batch of them."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (_PAIRS, 3, 256, 256), generator=generator).float()
    y = (x + 30 * torch.randn(x.shape, generator=generator)).clamp(0, 255)
    first, second = zip(*itertools.combinations(range(_BATCH), 2), strict=True)
    for name, library in LIBRARIES.items():
        yield (
            compare(
                f"MS-SSIM of {_PAIRS} pairs, 3 x 256 x 256",
                lambda: in_chunks(multi_scale_ssim, x, y),
                name,
                lambda library=library: in_chunks(library, x, y),
                repeats=3,
            )
        )
        yield (
            compare(
                f"MS-SSIM of all {len(first)} pairs of {_BATCH}, 3 x 256 x 256",
                lambda: _all_pairs(x[:_BATCH]),
                name,
                lambda library=library: in_chunks(library, x[list(first)], x[list(second)]),
                repeats=1,
            )
        )


if __name__ == "__main__":
    for line in measure():
        print(line)
