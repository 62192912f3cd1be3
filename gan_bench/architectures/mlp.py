"""A plain multi-layer perceptron pair, for small images and vectors.

The smallest GAN of Goodfellow et al. 2014 (arXiv 1406.2661) in today's form: ReLU in G, leaky
ReLU in D, initial weights scaled to the layers' inputs (arXiv 1502.01852; N(0, 0.02) suits
convolutions and is too small here). Their maxout D with dropout is not reproduced.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from gan_bench.architectures import layers
from gan_bench.errors import require
from gan_bench.interfaces import Normalizer
from gan_bench.registry import ARCHITECTURES

_LEAK = 0.2


@ARCHITECTURES.register("mlp", source="after arXiv 1406.2661")
def mlp(
    image_shape: tuple[int, ...],
    latent_dim: int = 128,
    normalizer: str | Normalizer = "none",
    num_classes: int | None = None,
    *,
    width: float = 1.0,
    hidden: int = 256,
    depth: int = 2,
) -> tuple[nn.Module, nn.Module]:
    """Fully connected layers, for images of any size and for vectors.

    D's normalizer stands after every hidden layer but the first. G's output is a tanh for images
    (C, H, W), and linear for vectors (D,).

    Args:
        image_shape: (C, H, W) or (D,).
        latent_dim: Size of z.
        normalizer: D's.
        num_classes: Must be None.
        width: Factor of `hidden`.
        hidden: Units of a hidden layer.
        depth: Hidden layers of each net.

    Returns:
        (G, D).

    Raises:
        ConfigError: A value is out of range.
    """
    layers.check_common("mlp", latent_dim, width, num_classes)
    require(hidden >= 1, f"architecture.hidden is {hidden}; it must be at least 1")
    require(depth >= 1, f"architecture.depth is {depth}; it must be at least 1")
    shape = tuple(image_shape)
    require(
        len(shape) in (1, 3) and min(shape) >= 1,
        f"mlp can't serve data of shape {shape}: it takes images (C, H, W) and vectors (D,)",
    )
    units, size = layers.scaled(hidden, width), math.prod(shape)
    upper: list[nn.Module] = []
    for inputs in [latent_dim, *[units] * (depth - 1)]:
        upper += [_linear(inputs, units, slope=0.0), nn.ReLU()]
    upper += [_linear(units, size, slope=1.0), nn.Unflatten(1, shape)]
    if len(shape) == 3:
        upper.append(nn.Tanh())
    norm = layers.resolve(normalizer)
    lower: list[nn.Module] = [nn.Flatten()]
    for i, inputs in enumerate([size, *[units] * (depth - 1)]):
        lower.append(norm.layer(_linear(inputs, units, slope=_LEAK)))
        if i > 0:
            lower.append(norm.features(units, spatial=False))
        lower.append(nn.LeakyReLU(_LEAK))
    lower.append(norm.layer(_linear(units, 1, slope=1.0)))
    return layers.Generator(*upper), layers.Discriminator(*lower)


def _linear(inputs: int, outputs: int, *, slope: float) -> nn.Linear:
    """Return a layer whose weights keep the variance through a (leaky) ReLU of that slope."""
    layer = nn.Linear(inputs, outputs)
    nn.init.kaiming_normal_(layer.weight, a=slope)
    with torch.no_grad():
        layer.bias.zero_()
    return layer
