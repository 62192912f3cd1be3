"""Normalizers of D: what stands at its normalization positions, and how its layers are wrapped.

An architecture passes every convolution and linear layer of D through `layer` and puts
`features` at its normalization positions: batch norm and layer norm act there, spectral norm on
the layers. G is none of their business: its batch norm is part of the architecture.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from gan_bench.errors import require
from gan_bench.registry import NORMALIZERS


@NORMALIZERS.register("none")
class NoNormalizer:
    """No normalization."""

    def layer(self, layer: nn.Module) -> nn.Module:
        """Return the layer as it is."""
        return layer

    def features(self, channels: int, *, spatial: bool = True) -> nn.Module:
        """Return the identity."""
        return nn.Identity()


@NORMALIZERS.register("batch_norm", aliases=("bn",), source="arXiv 1502.03167")
class BatchNorm(NoNormalizer):
    """Batch normalization at the architecture's positions, with scale and offset."""

    def __init__(self, *, eps: float = 1e-5, momentum: float = 0.1) -> None:
        """Set its constants.

        Args:
            eps: Added to the variance, above 0.
            momentum: Share of the new value in the running averages, in [0, 1].

        Raises:
            ConfigError: A value is out of range.
        """
        require(eps > 0, f"normalizer.eps is {eps}; it must be above 0")
        require(0 <= momentum <= 1, f"normalizer.momentum is {momentum}; it must lie in [0, 1]")
        self._eps, self._momentum = eps, momentum

    def features(self, channels: int, *, spatial: bool = True) -> nn.Module:
        """Return batch normalization of (N, C, H, W) or (N, C)."""
        kind = nn.BatchNorm2d if spatial else nn.BatchNorm1d
        return kind(channels, eps=self._eps, momentum=self._momentum)


@NORMALIZERS.register("layer_norm", aliases=("ln",), source="arXiv 1607.06450, as in compare_gan")
class LayerNorm(NoNormalizer):
    """Each sample normalized over its channels and pixels, then scaled and shifted by channel.

    Deviation: 1e-5 is added to the variance, 1e-12 in TensorFlow's.
    """

    def features(self, channels: int, *, spatial: bool = True) -> nn.Module:
        """Return the normalization of (N, C, H, W) or (N, C): group norm with one group."""
        return nn.GroupNorm(1, channels)


@NORMALIZERS.register("spectral_norm", aliases=("sn",), source="arXiv 1802.05957, algorithm 1")
class SpectralNorm(NoNormalizer):
    """Every convolution and linear layer divided by its kernel's largest singular value.

    The kernel is taken as the matrix (c_out, c_in * k * k); the value is estimated by one power
    iteration a training forward, through which no gradient flows.

    Deviation: as in PyTorch, 15 iterations are run on the initial weights, where the paper and
    compare_gan start from a random vector: the first steps already divide by the right value.
    """

    def layer(self, layer: nn.Module) -> nn.Module:
        """Return the layer with its weight reparametrized."""
        assert isinstance(layer.weight, Tensor)
        parametrize.register_parametrization(layer, "weight", SpectrallyNormalized(layer.weight))
        return layer


class SpectrallyNormalized(nn.Module):
    """A kernel divided by the estimate of its largest singular value.

    What PyTorch's own parametrization computes, with the same buffers, in half as many passes over
    the kernel (none of them a copy of one in channels_last), and with operations that can be
    vectorized over networks.
    """

    _u: Tensor
    _v: Tensor

    def __init__(self, weight: Tensor, eps: float = 1e-12) -> None:
        """Start from random vectors and 15 iterations.

        Args:
            weight: The kernel (c_out, ...).
            eps: Least norm that a vector is divided by.
        """
        super().__init__()
        self._eps = eps
        with torch.no_grad():
            matrix = weight.flatten(1)
            for name, size in zip(("_u", "_v"), matrix.shape, strict=True):
                vector = matrix.new_empty(size).normal_(0, 1)
                self.register_buffer(name, functional.normalize(vector, dim=0, eps=eps))
            for _ in range(15):
                self._iterate(weight)

    def _iterate(self, weight: Tensor) -> Tensor:
        """Improve both vectors once; return W^T u."""
        matrix = _matrix(weight)
        u = torch.mv(matrix, _in_memory_order(self._v, weight))
        self._u.copy_(functional.normalize(u, dim=0, eps=self._eps))
        product = torch.mv(matrix.t(), self._u)
        v = functional.normalize(product, dim=0, eps=self._eps)
        self._v.copy_(_in_logical_order(v, weight))
        return product

    def forward(self, weight: Tensor) -> Tensor:
        """Return the kernel divided by u W v, after a power iteration if training."""
        with torch.no_grad():
            if self.training:
                product = self._iterate(weight)
            else:
                product = torch.mv(_matrix(weight).t(), self._u)
            # clones: a backward pass may come after the next forward has changed the buffers
            u, v = self._u.clone(), _in_memory_order(self._v, weight).clone()
            sigma = torch.dot(v, product)
        normalized: Tensor = _Division.apply(weight, sigma, u, v)  # type: ignore[no-untyped-call]
        return normalized


class _Division(torch.autograd.Function):
    """W / sigma with sigma = u W v; dW = (g - sum(g W / sigma) u v^T) / sigma."""

    generate_vmap_rule = True

    @staticmethod
    def forward(weight: Tensor, sigma: Tensor, u: Tensor, v: Tensor) -> Tensor:
        return weight / sigma

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        weight, sigma, u, v = ctx.saved_tensors
        g = grads[0]
        products = torch.dot(_matrix(g, weight).flatten(), _matrix(weight).flatten())
        share = products / sigma.square()
        outer = _of_matrix(torch.outer(u * share, v), weight)
        return g / sigma - outer, None, None, None


def _is_channels_last(weight: Tensor) -> bool:
    return weight.dim() == 4 and not weight.is_contiguous()


def _matrix(tensor: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return a kernel, or what has its shape, as (c_out, rest), columns as the kernel's lie."""
    last = _is_channels_last(tensor if weight is None else weight)
    return (tensor.permute(0, 2, 3, 1) if last else tensor).flatten(1)


def _of_matrix(matrix: Tensor, weight: Tensor) -> Tensor:
    """Return a matrix of rows like those of `_matrix(weight)`, each in the shape of its kernel."""
    inputs = weight.shape[1:]
    if not _is_channels_last(weight):
        return matrix.view(-1, *inputs)
    return matrix.view(-1, *inputs[1:], inputs[0]).permute(0, 3, 1, 2)


def _in_memory_order(v: Tensor, weight: Tensor) -> Tensor:
    """Return a vector of c_in * k * k, in a kernel's logical order, in that of `_matrix`."""
    return _matrix(v.view(1, *weight.shape[1:]), weight).flatten()


def _in_logical_order(v: Tensor, weight: Tensor) -> Tensor:
    """Undo `_in_memory_order`."""
    return _of_matrix(v, weight).flatten()
