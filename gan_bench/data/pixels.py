"""Between stored pixels (uint8, 0..255) and the networks' range (float32, [-1, 1]).

`to_uint8(to_float(x)) == x` for each of the 256 values.
"""

from __future__ import annotations

import torch
from torch import Tensor


def to_float(images: Tensor) -> Tensor:
    """Map uint8 pixels of any shape to float32 in [-1, 1]: x / 127.5 - 1.

    Raises:
        TypeError: The pixels are not uint8.
    """
    if images.dtype != torch.uint8:
        raise TypeError(f"stored images must be uint8, got {images.dtype}")
    return images.to(torch.float32).div_(127.5).sub_(1.0)


def to_uint8(images: Tensor) -> Tensor:
    """Map float pixels of any shape to uint8: (x + 1) * 127.5, rounded, then clamped to 0..255.

    Halves go to the even neighbour, as `torch.round` has it. Values outside [-1, 1] become 0 or
    255; NaN, which has no pixel value, is refused rather than turned into an arbitrary one.

    Raises:
        TypeError: The pixels are no floating-point numbers.
        ValueError: Some are NaN.
    """
    if not images.is_floating_point():
        raise TypeError(f"images to be stored must be floating point, got {images.dtype}")
    if torch.isnan(images).any():
        raise ValueError("images to be stored hold NaN")
    return images.float().add(1.0).mul_(127.5).round_().clamp_(0.0, 255.0).to(torch.uint8)
