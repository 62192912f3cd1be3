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


def discriminator_step(game: Game, real: Tensor) -> tuple[Tensor, Tensor]:
    """Update D once.

    Args:
        game: The players.
        real: Real images (N, C, H, W) in [-1, 1].

    Returns:
        D's loss without the penalty, and the penalty: detached scalars.
    """
    with torch.no_grad(), game.autocast():
        fake = game.generator(game.latents(len(real)))
    fake = fake.to(real.dtype)
    loss = game.loss.discriminator(
        logits(game, real),
        logits(game, fake),
    )
    with game.autocast():
        penalty = game.regularizer(game.discriminator, real, fake)
    game.discriminator_optimizer.zero_grad()
    (loss + penalty).backward()  # type: ignore[no-untyped-call]
    game.discriminator_optimizer.step()
    if isinstance(game.regularizer, ConstrainsWeights):
        game.regularizer.after_step(game.discriminator)
    return loss.detach(), penalty.detach()


def generator_step(game: Game, batch_size: int) -> Tensor:
    """Update G once; D's weights get no gradient.

    Args:
        game: The players.
        batch_size: Number of generated images.

    Returns:
        G's loss, a detached scalar.
    """
    game.discriminator.requires_grad_(False)
    with game.autocast():
        fake = game.generator(game.latents(batch_size))
    loss = game.loss.generator(logits(game, fake))
    game.generator_optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    game.generator_optimizer.step()
    game.discriminator.requires_grad_(True)
    return loss.detach()


def logits(game: Game, images: Tensor) -> Tensor:
    """Return D's logits (N,) in float32 for images (N, C, H, W)."""
    with game.autocast():
        output: Tensor = game.discriminator(images)
    return output.float()
