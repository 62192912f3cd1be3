"""What each kind of part looks like to the rest: the shapes at the doors between them.

Images are float tensors (N, C, H, W) in [-1, 1] between data, generator and discriminator;
uint8 where they are stored and evaluated. Latents are float (N, latent_dim), logits float (N,).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

Discriminator = Callable[[Tensor], Tensor]
"""Images (N, C, H, W) in [-1, 1] -> logits (N,)."""


class Loss(Protocol):
    """What D and G minimize, given D's logits (N,); each method returns a scalar tensor.

    A loss may have `boundary`, the logit above which D takes an image for real (0 without it);
    None if its D decides nothing, as a critic doesn't.
    """

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """Return the loss that D minimizes."""
        ...

    def generator(self, fake_logits: Tensor) -> Tensor:
        """Return the loss that G minimizes."""
        ...


class Regularizer(Protocol):
    """A term added to D's loss, its weight included."""

    def __call__(self, discriminator: Discriminator, real: Tensor, fake: Tensor) -> Tensor:
        """Return the penalty (scalar tensor) for a batch of real and generated images."""
        ...


@runtime_checkable
class ConstrainsWeights(Protocol):
    """A regularizer that also acts on D's weights after each of D's updates."""

    def after_step(self, discriminator: nn.Module) -> None:
        """Change D's parameters in place."""
        ...


class Normalizer(Protocol):
    """How a discriminator is normalized."""

    def layer(self, layer: nn.Module) -> nn.Module:
        """Return an initialized convolution or linear layer, reparametrized if need be."""
        ...

    def features(self, channels: int, *, spatial: bool = True) -> nn.Module:
        """Return the module for a normalization position.

        Args:
            channels: C of the (N, C, H, W) or (N, C) features there.
            spatial: Whether the features have H and W.
        """
        ...


class ImageSplit(Protocol):
    """The images of one split, addressed by index."""

    @property
    def labels(self) -> Tensor | None:
        """Classes, int64 (N,), or None."""
        ...

    @property
    def in_memory(self) -> bool:
        """Whether all images are one uint8 tensor (else they are decoded when asked for)."""
        ...

    def __len__(self) -> int:
        """Return the number of images."""
        ...

    def images(self, indices: Sequence[int] | Tensor) -> Tensor:
        """Return images by index, uint8 (n, C, H, W) on the CPU."""
        ...

    def digest(self) -> str:
        """Return a hexadecimal digest of content and preprocessing, for caches."""
        ...


class Dataset(Protocol):
    """A data set: its shape and its splits."""

    @property
    def name(self) -> str:
        """The registered name (or what the user calls it)."""
        ...

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        ...

    @property
    def num_classes(self) -> int | None:
        """Number of classes, or None without labels."""
        ...

    def split(self, name: str) -> ImageSplit:
        """Return a split: "train", "test", or another that the set has.

        Raises:
            ConfigError: There is no such split; the message lists those that exist.
            DataError: Its files are missing or corrupt.
        """
        ...
