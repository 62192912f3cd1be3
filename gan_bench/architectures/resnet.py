"""compare_gan's residual networks: resnet19 (its resnet5), resnet_cifar and resnet_stl.

Images are in [0, 1] inside compare_gan: D maps them there first and G ends in a logistic
function. Its "unpool" inserts zeros, the shortcut is always a 3 x 3 convolution, and D's first
block starts with norm and ReLU on the raw image; all three are kept.
"""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional

from gan_bench.architectures import layers
from gan_bench.errors import ConfigError
from gan_bench.interfaces import Normalizer
from gan_bench.registry import ARCHITECTURES


def unpool(features: Tensor) -> Tensor:
    """Double H and W: each value top left in its 2 x 2 cell, beside three zeros."""
    n, channels, height, width = features.shape
    # zeros in the features' own memory format, or each convolution after it would convert
    if features.stride(1) == 1:
        doubled = features.new_zeros(n, 2 * height, 2 * width, channels).permute(0, 3, 1, 2)
    else:
        doubled = features.new_zeros(n, channels, 2 * height, 2 * width)
    doubled[:, :, ::2, ::2] = features
    return doubled


class UpBlock(nn.Module):
    """G's block: norm, ReLU, (unpool,) conv, norm, ReLU, conv; plus a convolved shortcut."""

    def __init__(self, inputs: int, outputs: int, *, upsample: bool) -> None:
        """Build it; `upsample` doubles H and W."""
        super().__init__()
        self.upsample = upsample
        self.norm1, self.norm2 = _bn(inputs), _bn(outputs)
        self.conv1 = layers.conv(inputs, outputs, 3)
        self.conv2 = layers.conv(outputs, outputs, 3)
        self.shortcut = layers.conv(inputs, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', 2 H, 2 W), or the same H and W."""
        main = functional.relu(self.norm1(x))
        if self.upsample:
            main, x = unpool(main), unpool(x)
        main = self.conv2(functional.relu(self.norm2(self.conv1(main))))
        result: Tensor = main + self.shortcut(x)
        return result


class DownBlock(nn.Module):
    """D's block: norm, ReLU, conv, norm, ReLU, conv(, average-pool); plus a convolved shortcut."""

    def __init__(
        self, inputs: int, outputs: int, normalizer: Normalizer, *, downsample: bool
    ) -> None:
        """Build it; `downsample` halves H and W."""
        super().__init__()
        self.downsample = downsample
        self.norm1, self.norm2 = normalizer.features(inputs), normalizer.features(outputs)
        self.conv1 = normalizer.layer(layers.conv(inputs, outputs, 3))
        self.conv2 = normalizer.layer(layers.conv(outputs, outputs, 3))
        self.shortcut = normalizer.layer(layers.conv(inputs, outputs, 3))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H / 2, W / 2), or the same H and W."""
        main = self.conv1(functional.relu(self.norm1(x)))
        main = self.conv2(functional.relu(self.norm2(main)))
        total: Tensor = main + self.shortcut(x)
        # pooling is linear: pooling the sum is pooling both paths
        return functional.avg_pool2d(total, 2) if self.downsample else total


def _bn(channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels, eps=1e-5, momentum=0.1)


def _generator(
    latent_dim: int, start: int, channels: list[int], ups: int, image_channels: int
) -> nn.Module:
    """Linear layer to start x start, blocks (the first `ups` of them upsample), image."""
    blocks = [
        UpBlock(inputs, outputs, upsample=i < ups)
        for i, (inputs, outputs) in enumerate(zip(channels, channels[1:], strict=False))
    ]
    return layers.Generator(
        layers.linear(latent_dim, channels[0] * start * start),
        nn.Unflatten(1, (channels[0], start, start)),
        *blocks,
        *(_bn(channels[-1]), nn.ReLU()),
        layers.conv(channels[-1], image_channels, 3),
        nn.Sigmoid(),
        layers.FromUnit(),
    )


def _discriminator(channels: list[int], downs: int, normalizer: str | Normalizer) -> nn.Module:
    """Blocks (the first `downs` of them downsample), ReLU, mean over pixels, linear layer."""
    norm = layers.resolve(normalizer)
    blocks = [
        DownBlock(inputs, outputs, norm, downsample=i < downs)
        for i, (inputs, outputs) in enumerate(zip(channels, channels[1:], strict=False))
    ]
    return layers.Discriminator(
        layers.ToUnit(),
        *blocks,
        nn.ReLU(),
        layers.GlobalMean(),
        norm.layer(layers.linear(channels[-1], 1)),
    )


@ARCHITECTURES.register("resnet19", source="compare_gan v2: resnet5; arXiv 1807.04720")
def resnet19(
    image_shape: tuple[int, int, int],
    latent_dim: int = 128,
    normalizer: str | Normalizer = "none",
    num_classes: int | None = None,
    *,
    width: float = 1.0,
) -> tuple[nn.Module, nn.Module]:
    """The GAN Landscape's 19-layer residual network for 128 x 128; powers of two from 8.

    For smaller images the later blocks of G, which starts from 4 x 4, do not upsample; D halves
    in every block until a single pixel is left.

    Arguments, result and errors are those of all of them: see `gan_bench.architectures`.
    """
    layers.check_common("resnet19", latent_dim, width, num_classes)
    channels, side = layers.check_image("resnet19", image_shape, multiple_of=8, smallest=8)
    halvings = int(math.log2(side))
    if 2**halvings != side or side > 128:
        raise ConfigError(f"resnet19 can't serve a side of {side}: it takes 8, 16, 32, 64 or 128")
    up, down = (
        [layers.scaled(64 * factor, width) for factor in factors]
        for factors in ((8, 8, 4, 4, 2, 1), (1, 2, 4, 4, 8, 8))
    )
    return (
        _generator(latent_dim, 4, up, halvings - 2, channels),
        _discriminator([channels, *down], min(len(down), halvings), normalizer),
    )


@ARCHITECTURES.register("resnet_cifar", source="compare_gan v2; arXiv 1802.05957, table 4")
def resnet_cifar(
    image_shape: tuple[int, int, int],
    latent_dim: int = 128,
    normalizer: str | Normalizer = "none",
    num_classes: int | None = None,
    *,
    width: float = 1.0,
) -> tuple[nn.Module, nn.Module]:
    """The residual network for CIFAR-10, 32 x 32; sides that are multiples of 8.

    G starts from H / 8 and doubles three times; D halves twice.

    Arguments, result and errors are those of all of them: see `gan_bench.architectures`.
    """
    layers.check_common("resnet_cifar", latent_dim, width, num_classes)
    channels, side = layers.check_image("resnet_cifar", image_shape, multiple_of=8, smallest=8)
    c128, c256 = layers.scaled(128, width), layers.scaled(256, width)
    return (
        _generator(latent_dim, side // 8, [c256] * 4, 3, channels),
        _discriminator([channels, *[c128] * 4], 2, normalizer),
    )


@ARCHITECTURES.register("resnet_stl", source="compare_gan v2; arXiv 1802.05957, table 5")
def resnet_stl(
    image_shape: tuple[int, int, int],
    latent_dim: int = 128,
    normalizer: str | Normalizer = "none",
    num_classes: int | None = None,
    *,
    width: float = 1.0,
) -> tuple[nn.Module, nn.Module]:
    """The residual network for STL-10, 48 x 48; sides that are multiples of 16.

    G starts from H / 8 and doubles three times; D halves four times.

    Arguments, result and errors are those of all of them: see `gan_bench.architectures`.
    """
    layers.check_common("resnet_stl", latent_dim, width, num_classes)
    channels, side = layers.check_image("resnet_stl", image_shape, multiple_of=16, smallest=16)
    up = [layers.scaled(c, width) for c in (512, 256, 128, 64)]
    down = [layers.scaled(c, width) for c in (64, 128, 256, 512, 1024)]
    return (
        _generator(latent_dim, side // 8, up, 3, channels),
        _discriminator([channels, *down], 4, normalizer),
    )
