"""Layers that the architectures share: TensorFlow's "SAME" padding, initial values, checks.

compare_gan (github.com/google/compare_gan, v2 of 2018-10) is written in TensorFlow: its
convolutions of stride 2 pad more after than before, and its transposed convolutions are their
exact adjoints. Deviations: its batch norm keeps the biased variance in its running average,
PyTorch's the unbiased one; and weights are N(0, 0.02) everywhere as in its v3, where v2 cuts the
convolutions' normal off at two deviations (all but those of SNDCGAN's D).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from gan_bench.errors import ConfigError, require
from gan_bench.interfaces import Normalizer
from gan_bench.registry import NORMALIZERS

WEIGHT_STD = 0.02
"""Standard deviation of initial weights (arXiv 1511.06434; compare_gan v3)."""


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return TensorFlow's SAME padding (before, after) of one dimension."""
    total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def halved(size: int, times: int) -> list[int]:
    """Return [size, ceil(size / 2), ...]: the sizes that stride-2 SAME convolutions give."""
    sizes = [size]
    for _ in range(times):
        sizes.append(math.ceil(sizes[-1] / 2))
    return sizes


class SameConv2d(nn.Conv2d):
    """Convolution with SAME padding: (N, C, H, W) -> (N, C', ceil(H / stride), ...)."""

    def forward(self, images: Tensor) -> Tensor:
        """Convolve."""
        rows, columns = (
            same_padding(size, kernel, stride)
            for size, kernel, stride in zip(
                images.shape[2:], self.kernel_size, self.stride, strict=True
            )
        )
        padding: tuple[int, int] | int = (rows[0], columns[0])
        if rows[0] != rows[1] or columns[0] != columns[1]:
            images, padding = functional.pad(images, (*columns, *rows)), 0
        return functional.conv2d(images, self.weight, self.bias, self.stride, padding)


class SameConvTranspose2d(nn.ConvTranspose2d):
    """The adjoint of a SAME convolution of images of a given size."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, output_size: int
    ) -> None:
        """Build it.

        Args:
            inputs: Channels in.
            outputs: Channels out.
            kernel: Side of the kernel.
            stride: Factor of the size.
            output_size: Side of the (square) output; the input's is ceil(output_size / stride).
        """
        before, _ = same_padding(output_size, kernel, stride)
        super().__init__(inputs, outputs, kernel, stride, padding=before)
        self._side = output_size

    def forward(self, images: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Convolve; what the adjoint convolution would have padded after the image is cut off."""
        return super().forward(images, output_size)[:, :, : self._side, : self._side]


def initialized(layer: nn.Module) -> nn.Module:
    """Set a convolution's or linear layer's weights to N(0, 0.02) and its biases to 0."""
    assert isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear))
    nn.init.normal_(layer.weight, std=WEIGHT_STD)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Module:
    """Return an initialized SAME convolution."""
    return initialized(SameConv2d(inputs, outputs, kernel, stride))


def linear(inputs: int, outputs: int) -> nn.Module:
    """Return an initialized linear layer."""
    return initialized(nn.Linear(inputs, outputs))


def up(inputs: int, outputs: int, kernel: int, output_size: int) -> nn.Module:
    """Return an initialized SAME transposed convolution of stride 2."""
    return initialized(SameConvTranspose2d(inputs, outputs, kernel, 2, output_size))


class FromUnit(nn.Module):
    """[0, 1] -> [-1, 1], after a logistic output."""

    def forward(self, images: Tensor) -> Tensor:
        """Scale."""
        return images * 2 - 1


class ToUnit(nn.Module):
    """[-1, 1] -> [0, 1]: compare_gan's nets take images in that range, so padding is black."""

    def forward(self, images: Tensor) -> Tensor:
        """Scale."""
        return (images + 1) / 2


class Generator(nn.Module):
    """G: latents (N, latent_dim) -> images (N, C, H, W) in [-1, 1]."""

    def __init__(self, *layers: nn.Module) -> None:
        """Chain the layers."""
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Generate; `y` is accepted for conditional architectures' sake and not used."""
        images: Tensor = self.layers(z)
        return images


class Discriminator(nn.Module):
    """D: images (N, C, H, W) in [-1, 1] -> logits (N,)."""

    def __init__(self, *layers: nn.Module) -> None:
        """Chain the layers; the last gives (N, 1)."""
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor, y: Tensor | None = None) -> Tensor:
        """Judge; `y` is accepted for conditional architectures' sake and not used."""
        logits: Tensor = self.layers(images)
        return logits.flatten()


class GlobalMean(nn.Module):
    """Mean over H and W: (N, C, H, W) -> (N, C)."""

    def forward(self, features: Tensor) -> Tensor:
        """Average."""
        return torch.mean(features, (2, 3))


def scaled(channels: int, width: float) -> int:
    """Return a number of channels times `width`, at least 1."""
    return max(1, round(channels * width))


def resolve(normalizer: str | Normalizer) -> Normalizer:
    """Return the normalizer that a name or alias stands for; an object is returned as it is."""
    return NORMALIZERS.build(normalizer) if isinstance(normalizer, str) else normalizer


def check_common(architecture: str, latent_dim: int, width: float, num_classes: int | None) -> None:
    """Refuse a latent size, width or conditioning that can't be (ConfigError)."""
    require(latent_dim >= 1, f"latent_dim is {latent_dim}; it must be at least 1")
    require(
        width > 0 and math.isfinite(width),
        f"architecture.width is {width}; it must be above 0 and finite",
    )
    require(
        num_classes is None,
        f"{architecture} is not conditional: it takes no num_classes ({num_classes} given)",
    )


def check_image(
    architecture: str, image_shape: tuple[int, ...], *, multiple_of: int, smallest: int
) -> tuple[int, int]:
    """Return (C, H) of a square image that the architecture can serve.

    Args:
        architecture: Its name, for the error line.
        image_shape: (C, H, W).
        multiple_of: H must be a multiple of it.
        smallest: H must be at least this.

    Raises:
        ConfigError: It can't serve the shape; the line says which it can.
    """
    shape = tuple(image_shape)
    if len(shape) == 3 and shape[0] in (1, 3) and shape[1] == shape[2]:
        side = shape[1]
        if side >= smallest and side % multiple_of == 0:
            return shape[0], side
    sizes = (
        f"a multiple of {multiple_of} from {smallest}"
        if multiple_of > 1
        else (f"{smallest} or more")
    )
    raise ConfigError(
        f"{architecture} can't serve images of shape {shape}: it takes 1 or 3 channels and a "
        f"square side that is {sizes}; choose another architecture or dataset.image_size"
    )
