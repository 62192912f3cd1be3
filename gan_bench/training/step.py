"""One update of the discriminator and one of the generator, as in Goodfellow et al., algorithm 1.

D sees real and generated images in separate batches, as compare_gan v2 (the code of arXiv
1807.04720) does; v3 concatenates them, which matters only for batch norm in D. Latents are drawn
afresh for every update.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gan_bench.interfaces import ConstrainsWeights, Loss, Regularizer


@dataclass
class Game:
    """The two players, what each minimizes and how it is optimized."""

    generator: nn.Module
    discriminator: nn.Module
    generator_optimizer: torch.optim.Optimizer
    discriminator_optimizer: torch.optim.Optimizer
    loss: Loss
    regularizer: Regularizer
    latents: Callable[[int], Tensor]
    """Number of samples n -> latents (n, latent_dim)."""
    autocast: Callable[[], contextlib.AbstractContextManager[object]] = contextlib.nullcontext
    """Makes the context in which the networks run; losses stay in float32."""


def discriminator_step(game: Game, real: Tensor, parts: int = 1) -> tuple[Tensor, Tensor]:
    """Update D once.

    Args:
        game: The players.
        real: Real images (N, C, H, W) in [-1, 1].
        parts: Equal parts of the batch, passed one after the other; their gradients add up to the
            batch's. Batch norm, dragan's deviation and the spectral iterations see a part each.

    Returns:
        D's loss without the penalty, and the penalty: detached scalars.
    """
    losses, penalties = [], []
    game.discriminator_optimizer.zero_grad()
    for images in real.chunk(parts):
        with torch.no_grad(), game.autocast():
            fake = game.generator(game.latents(len(images)))
        fake = fake.to(images.dtype)
        loss = game.loss.discriminator(logits(game, images), logits(game, fake))
        with game.autocast():
            penalty = game.regularizer(game.discriminator, images, fake)
        _backward(loss + penalty, parts)
        losses.append(loss.detach())
        penalties.append(penalty.detach())
    game.discriminator_optimizer.step()
    if isinstance(game.regularizer, ConstrainsWeights):
        game.regularizer.after_step(game.discriminator)
    return _mean(losses), _mean(penalties)


def generator_step(game: Game, batch_size: int, parts: int = 1) -> Tensor:
    """Update G once; D's weights get no gradient.

    Args:
        game: The players.
        batch_size: Number of generated images.
        parts: See `discriminator_step`.

    Returns:
        G's loss, a detached scalar.
    """
    game.discriminator.requires_grad_(False)
    losses = []
    game.generator_optimizer.zero_grad()
    for _ in range(parts):
        with game.autocast():
            fake = game.generator(game.latents(batch_size // parts))
        loss = game.loss.generator(logits(game, fake))
        _backward(loss, parts)
        losses.append(loss.detach())
    game.generator_optimizer.step()
    game.discriminator.requires_grad_(True)
    return _mean(losses)


def _backward(loss: Tensor, parts: int) -> None:
    (loss / parts if parts > 1 else loss).backward()  # type: ignore[no-untyped-call]


def _mean(values: list[Tensor]) -> Tensor:
    return values[0] if len(values) == 1 else torch.stack(values).mean()


def logits(game: Game, images: Tensor) -> Tensor:
    """Return D's logits (N,) in float32 for images (N, C, H, W)."""
    with game.autocast():
        output: Tensor = game.discriminator(images)
    return output.float()
