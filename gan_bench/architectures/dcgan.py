"""DCGAN as compare_gan builds it (its dcgan.py; after arXiv 1511.06434).

Images are in [0, 1] inside compare_gan: D maps them there first (`unit_interval=false` leaves them
in [-1, 1], as in the DCGAN paper). G's tanh gives [-1, 1] directly.
Deviations: layer norm, which compare_gan has only in its residual networks, stands at batch
norm's positions. Sides need not be multiples of 16: they are halved upwards, as in the original.
"""

from __future__ import annotations

from torch import nn

from gan_bench.architectures import layers
from gan_bench.interfaces import Normalizer
from gan_bench.registry import ARCHITECTURES

_LEAK = 0.2


@ARCHITECTURES.register("dcgan", source="compare_gan v2; arXiv 1511.06434")
def dcgan(
    image_shape: tuple[int, int, int],
    latent_dim: int = 128,
    normalizer: str | Normalizer = "none",
    num_classes: int | None = None,
    *,
    width: float = 1.0,
    unit_interval: bool = True,
) -> tuple[nn.Module, nn.Module]:
    """Four 5 x 5 stride-2 convolutions, and their transposes; sides of 8 or more.

    Batch norm in G after each layer but the last; D's normalizer after convolutions 2 to 4.

    Arguments, result and errors are those of all of them: see `gan_bench.architectures`. If
    `unit_interval`, D sees images in [0, 1].
    """
    layers.check_common("dcgan", latent_dim, width, num_classes)
    channels, side = layers.check_image("dcgan", image_shape, multiple_of=1, smallest=8)
    c64, c128, c256, c512 = (layers.scaled(c, width) for c in (64, 128, 256, 512))
    _, s2, s4, s8, s16 = layers.halved(side, 4)
    generator = layers.Generator(
        layers.linear(latent_dim, c512 * s16 * s16),
        nn.Unflatten(1, (c512, s16, s16)),
        *_bn_relu(c512),
        *(layers.up(c512, c256, 5, s8), *_bn_relu(c256)),
        *(layers.up(c256, c128, 5, s4), *_bn_relu(c128)),
        *(layers.up(c128, c64, 5, s2), *_bn_relu(c64)),
        layers.up(c64, channels, 5, side),
        nn.Tanh(),
    )
    norm = layers.resolve(normalizer)
    body: list[nn.Module] = [layers.ToUnit()] if unit_interval else []
    for i, (inputs, outputs) in enumerate(
        [(channels, c64), (c64, c128), (c128, c256), (c256, c512)]
    ):
        body.append(norm.layer(layers.conv(inputs, outputs, 5, 2)))
        if i > 0:
            body.append(norm.features(outputs))
        body.append(nn.LeakyReLU(_LEAK))
    discriminator = layers.Discriminator(
        *body, nn.Flatten(), norm.layer(layers.linear(c512 * s16 * s16, 1))
    )
    return generator, discriminator


def _bn_relu(channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.BatchNorm2d(channels, eps=1e-5, momentum=0.1), nn.ReLU()
