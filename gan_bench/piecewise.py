"""Activations made of straight pieces, for networks whose gradient is differentiated again."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class ConstantSlopes(TorchFunctionMode):
    """Within it ReLU and leaky ReLU are products with their slopes, which are constants.

    Values and gradients stay the same. The slope's own derivative is zero; PyTorch returns it as a
    tensor of zeros, with which the second backward pass of a gradient penalty goes through the
    whole network again: a third of its arithmetic, for nothing.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Replace the two activations."""
        replaced = _REPLACED.get(func, func)
        return replaced(*args, **(kwargs or {}))


def _relu(input: Tensor, inplace: bool = False) -> Tensor:
    return _leaky_relu(input, 0.0)


def _leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    one, slope = (input.new_full((), value) for value in (1.0, negative_slope))
    return input * torch.where(input.detach() > 0, one, slope)


_REPLACED = {functional.relu: _relu, torch.relu: _relu, functional.leaky_relu: _leaky_relu}
