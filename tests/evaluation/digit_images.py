"""Real digits and damaged ones, for the tests of the evaluator."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import gan_bench.data  # noqa: F401  (fills DATASETS)
from gan_bench.registry import DATASETS


def split(name: str) -> Any:
    return DATASETS.build("digits").split(name)


def generated(count: int = 200) -> Tensor:
    """Real digits with noise: worse than real ones, better than nothing."""
    images = split("train").images(range(count)).float()
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    return (images + 40 * noise).clamp(0, 255).round().to(torch.uint8)
