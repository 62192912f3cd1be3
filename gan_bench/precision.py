"""How exact float32 products and convolutions are.

cuDNN's convolutions use TF32 (10 bits of mantissa) unless told otherwise, which moves features by
about 1e-3: what is called float32 here is float32 on every device.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch


@contextlib.contextmanager
def float32_arithmetic(*, tf32: bool = False) -> Iterator[None]:
    """Run float32 operations as such, or on a GPU as TF32, whatever the caller has set.

    The settings are changed one operation at a time: the process-wide getters fail where a caller
    has mixed PyTorch's old and new settings.
    """
    on_gpu: list[Any] = [torch.backends.cuda.matmul, torch.backends.cudnn.conv]  # type: ignore[attr-defined]
    on_cpu: list[Any] = [torch.backends.mkldnn.matmul, torch.backends.mkldnn.conv]  # type: ignore[attr-defined]
    operations = on_gpu + on_cpu
    previous = [operation.fp32_precision for operation in operations]
    for operation in operations:
        operation.fp32_precision = "tf32" if tf32 and operation in on_gpu else "ieee"
    try:
        yield
    finally:
        for operation, precision in zip(operations, previous, strict=True):
            operation.fp32_precision = precision


@contextlib.contextmanager
def full_float32(device: torch.device) -> Iterator[None]:
    """Run real float32 arithmetic: no TF32, bfloat16 or autocast."""
    with float32_arithmetic(), torch.autocast(device.type, enabled=False):
        yield
