"""Leaky ReLU for networks whose gradient is differentiated again."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class ConstantSlopes(TorchFunctionMode):
    """Within it leaky ReLU is a product with its slope, which is a constant.

    Values and gradients stay the same. The slope's own derivative is zero; PyTorch returns it as a
    tensor of zeros, with which the second backward pass of a gradient penalty goes through the
    whole network again: a third of its arithmetic, for nothing. (With ReLU most of it does not
    happen: measured, a product there costs more than it saves.)
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Replace the activation."""
        replaced = _leaky_relu if func is functional.leaky_relu else func
        return replaced(*args, **(kwargs or {}))


def _leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    one, slope = (input.new_full((), value) for value in (1.0, negative_slope))
    return input * torch.where(input.detach() > 0, one, slope)
