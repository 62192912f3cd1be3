"""The InfoGAN network, which compare_gan v1 used throughout *Are GANs Created Equal?*.

That is arXiv 1711.10337; the net is after arXiv 1606.03657, table 1. Images are in [0, 1] inside
it. Deviations: layer norm, which the original lacks, stands at batch norm's positions in D: after
the second convolution and the first linear layer, with the normalizer's own constants (the
original's batch norm has 1e-3 and 0.999 in D too; normalizer.eps and momentum set them). The
running averages of batch norm in G keep 0.999 of the old value, so a G trained for only a few
hundred steps samples worse than it can.
"""

from __future__ import annotations

from torch import nn

from gan_bench.architectures import layers
from gan_bench.interfaces import Normalizer
from gan_bench.registry import ARCHITECTURES

_LEAK = 0.2
_EPS, _MOMENTUM = 1e-3, 0.001


@ARCHITECTURES.register("infogan", source="compare_gan v1; arXiv 1711.10337")
def infogan(
    image_shape: tuple[int, int, int],
    latent_dim: int = 128,
    normalizer: str | Normalizer = "none",
    num_classes: int | None = None,
    *,
    width: float = 1.0,
) -> tuple[nn.Module, nn.Module]:
    """Two linear and two convolution layers in each net; sides that are multiples of 4.

    Arguments, result and errors are those of all of them: see `gan_bench.architectures`.
    """
    layers.check_common("infogan", latent_dim, width, num_classes)
    channels, side = layers.check_image("infogan", image_shape, multiple_of=4, smallest=8)
    c64, c128, c1024 = (layers.scaled(c, width) for c in (64, 128, 1024))
    s4 = side // 4
    flat = c128 * s4 * s4
    generator = layers.Generator(
        *(layers.linear(latent_dim, c1024), _bn1d(c1024), nn.LeakyReLU(_LEAK)),
        *(layers.linear(c1024, flat), _bn1d(flat), nn.LeakyReLU(_LEAK)),
        nn.Unflatten(1, (c128, s4, s4)),
        *(
            layers.up(c128, c64, 4, side // 2),
            nn.BatchNorm2d(c64, _EPS, _MOMENTUM),
            nn.LeakyReLU(_LEAK),
        ),
        layers.up(c64, channels, 4, side),
        nn.Sigmoid(),
        layers.FromUnit(),
    )
    norm = layers.resolve(normalizer)
    discriminator = layers.Discriminator(
        layers.ToUnit(),
        *(norm.layer(layers.conv(channels, c64, 4, 2)), nn.LeakyReLU(_LEAK)),
        *(norm.layer(layers.conv(c64, c128, 4, 2)), norm.features(c128), nn.LeakyReLU(_LEAK)),
        nn.Flatten(),
        norm.layer(layers.linear(flat, c1024)),
        norm.features(c1024, spatial=False),
        nn.LeakyReLU(_LEAK),
        norm.layer(layers.linear(c1024, 1)),
    )
    return generator, discriminator


def _bn1d(units: int) -> nn.Module:
    return nn.BatchNorm1d(units, _EPS, _MOMENTUM)
