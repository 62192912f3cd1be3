"""SNDCGAN: the "standard CNN" of the SNGAN paper (arXiv 1802.05957, table 3), as in compare_gan.

D takes images in [-1, 1]. The original has no place for batch norm or layer norm in D; they stand
where the SNGAN paper put them in its comparison: after every convolution but the first.
"""

from __future__ import annotations

from torch import nn

from gan_bench.architectures import layers
from gan_bench.interfaces import Normalizer
from gan_bench.registry import ARCHITECTURES

_LEAK = 0.1


@ARCHITECTURES.register("sndcgan", source="arXiv 1802.05957, table 3; compare_gan v2")
def sndcgan(
    image_shape: tuple[int, int, int],
    latent_dim: int = 128,
    normalizer: str | Normalizer = "none",
    num_classes: int | None = None,
    *,
    width: float = 1.0,
) -> tuple[nn.Module, nn.Module]:
    """Seven convolutions in D, three transposed ones in G; sides that are multiples of 8.

    Arguments, result and errors are those of all of them: see `gan_bench.architectures`.
    """
    layers.check_common("sndcgan", latent_dim, width, num_classes)
    channels, side = layers.check_image("sndcgan", image_shape, multiple_of=8, smallest=8)
    c64, c128, c256, c512 = (layers.scaled(c, width) for c in (64, 128, 256, 512))
    s8 = side // 8
    flat = c512 * s8 * s8
    generator = layers.Generator(
        layers.linear(latent_dim, flat),
        nn.BatchNorm1d(flat, eps=2e-5, momentum=0.1),
        nn.ReLU(),
        nn.Unflatten(1, (c512, s8, s8)),
        *(layers.up(c512, c256, 4, side // 4), *_bn_relu(c256)),
        *(layers.up(c256, c128, 4, side // 2), *_bn_relu(c128)),
        *(layers.up(c128, c64, 4, side), *_bn_relu(c64)),
        layers.conv(c64, channels, 3),
        nn.Tanh(),
    )
    norm = layers.resolve(normalizer)
    body: list[nn.Module] = []
    inputs = channels
    for kernel, stride, outputs in (
        (3, 1, c64), (4, 2, c128), (3, 1, c128), (4, 2, c256), (3, 1, c256), (4, 2, c512),
        (3, 1, c512),
    ):  # fmt: skip
        body.append(norm.layer(layers.conv(inputs, outputs, kernel, stride)))
        if len(body) > 1:
            body.append(norm.features(outputs))
        body.append(nn.LeakyReLU(_LEAK))
        inputs = outputs
    discriminator = layers.Discriminator(*body, nn.Flatten(), norm.layer(layers.linear(flat, 1)))
    return generator, discriminator


def _bn_relu(channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.BatchNorm2d(channels, eps=2e-5, momentum=0.1), nn.ReLU()
