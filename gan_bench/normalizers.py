"""Normalizers of D: what stands at its normalization positions, and how its layers are wrapped.

An architecture passes every convolution and linear layer of D through `layer` and puts
`features` at its normalization positions: batch norm and layer norm act there, spectral norm on
the layers. G is none of their business: its batch norm is part of the architecture.
"""

from __future__ import annotations

from torch import nn
from torch.nn.utils import parametrizations

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

    Deviation: PyTorch runs 15 iterations on the initial weights, where the paper and compare_gan
    start from a random vector: the first few steps already divide by the right value.
    """

    def layer(self, layer: nn.Module) -> nn.Module:
        """Return the layer with its weight reparametrized."""
        return parametrizations.spectral_norm(layer, n_power_iterations=1, eps=1e-12)
