"""One update of D and of G: what moves, what does not, and by which gradient."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from gan_bench.registry import ARCHITECTURES, LOSSES, NORMALIZERS, REGULARIZERS
from gan_bench.training.step import Game, discriminator_step, generator_step

NATIVE = {
    "mlp": (1, 8, 8),
    "infogan": (1, 28, 28),
    "dcgan": (3, 64, 64),
    "sndcgan": (3, 32, 32),
    "resnet_cifar": (3, 32, 32),
    "resnet_stl": (3, 48, 48),
    "resnet19": (3, 128, 128),
}
WIDTH = 1 / 32  # every architecture 128 x 128 included must fit into seconds


class Shift(nn.Module):
    """G(z) = z + shift."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(3))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return z + self.shift


def play(generator, discriminator, loss="wasserstein", regularizer="none", lr=0.1) -> Game:
    return Game(
        generator=generator,
        discriminator=discriminator,
        generator_optimizer=torch.optim.SGD(generator.parameters(), lr=lr),
        discriminator_optimizer=torch.optim.SGD(discriminator.parameters(), lr=lr),
        loss=LOSSES.build(loss),
        regularizer=REGULARIZERS.build(regularizer),
        latents=lambda n: torch.ones(n, 3),
    )


def linear() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 1, bias=False), nn.Flatten(0))


def test_discriminator_step_follows_the_gradient_of_its_loss_only():
    """Of D(x) = w.x the Wasserstein gradient is mean(fake) - mean(real)."""
    game = play(Shift(), linear())
    before = game.discriminator[0].weight.detach().clone()
    real = torch.tensor([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])
    loss, penalty = discriminator_step(game, real)
    gradient = torch.ones(3) - real.mean(0)
    torch.testing.assert_close(game.discriminator[0].weight[0], before[0] - 0.1 * gradient)
    torch.testing.assert_close(loss, (before[0] * gradient).sum())
    assert penalty == 0 and (game.generator.shift == 0).all()
    assert game.generator.shift.grad is None


def test_generator_step_leaves_the_discriminator_and_its_gradients_alone():
    game = play(Shift(), linear())
    weight = game.discriminator[0].weight.detach().clone()
    generator_step(game, 5)
    torch.testing.assert_close(game.generator.shift.detach(), 0.1 * weight[0])  # up D's slope
    assert torch.equal(game.discriminator[0].weight, weight)
    assert game.discriminator[0].weight.grad is None
    assert game.discriminator[0].weight.requires_grad


def test_penalty_is_part_of_the_gradient_and_reported_apart():
    torch.manual_seed(0)
    plain, penalized = play(Shift(), linear()), None
    penalized = copy.deepcopy(plain)
    penalized.latents = plain.latents
    penalized.regularizer = REGULARIZERS.build("gradient_penalty", weight=5.0)
    penalized.discriminator_optimizer = torch.optim.SGD(penalized.discriminator.parameters(), 0.1)
    real = torch.randn(4, 3)
    start = plain.discriminator[0].weight.detach().clone()
    loss, none = discriminator_step(plain, real)
    same_loss, penalty = discriminator_step(penalized, real)
    assert none == 0 and torch.equal(loss, same_loss)
    norm = (1e-4 + start.square().sum()).sqrt()
    torch.testing.assert_close(penalty, 5 * (norm - 1) ** 2)
    moved = plain.discriminator[0].weight - penalized.discriminator[0].weight
    torch.testing.assert_close(moved, 0.1 * 5 * 2 * (norm - 1) * start / norm)


@pytest.mark.parametrize("regularizer", ["none", "gradient_penalty", "r1", "l2"])
def test_parts_of_a_batch_add_up_to_it(regularizer):
    """Of networks that look at no batch statistics; latents and points are the same draws."""
    updated = []
    for parts in (1, 4):
        torch.manual_seed(0)
        networks = ARCHITECTURES.build("mlp", image_shape=(1, 4, 4), latent_dim=3, hidden=8)
        game = play(*(network.double() for network in networks), regularizer=regularizer)
        if regularizer == "gradient_penalty":  # draws its points afresh for each part
            game.regularizer.points = lambda real, fake: 0.3 * real + 0.7 * fake
        latents = torch.rand(16, 3, dtype=torch.float64).repeat(2, 1)
        drawn = iter(latents.chunk(2 * parts))
        game.latents = lambda n, drawn=drawn: next(drawn)[:n]
        real = torch.rand(16, 1, 4, 4, dtype=torch.float64) * 2 - 1
        losses = [*discriminator_step(game, real, parts), generator_step(game, 16, parts)]
        weights = [weight for network in networks for weight in network.parameters()]
        updated.append([*losses, *weights])
    for one, other in zip(*updated, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)


def test_weight_clipping_acts_after_the_step():
    game = play(Shift(), linear(), regularizer="weight_clipping")
    discriminator_step(game, torch.randn(4, 3))
    assert game.discriminator[0].weight.abs().max() <= 0.01


@pytest.mark.parametrize("regularizer", REGULARIZERS.names())
@pytest.mark.parametrize("normalizer", NORMALIZERS.names())
@pytest.mark.parametrize("architecture", sorted(NATIVE))
def test_one_step_of_everything_at_its_native_size(architecture, normalizer, regularizer):
    """Every loss in turn on one pair of networks; all is finite and every weight can move."""
    torch.manual_seed(0)
    shape = NATIVE[architecture]
    networks = ARCHITECTURES.build(
        architecture, image_shape=shape, latent_dim=8, normalizer=normalizer, width=WIDTH
    )
    game = play(*networks, regularizer=regularizer, lr=1e-3)
    game.latents = lambda n: torch.rand(n, 8) * 2 - 1
    real = torch.rand(2, *shape) * 2 - 1
    for loss in LOSSES.names():
        game.loss = LOSSES.build(loss)
        values = [*discriminator_step(game, real), generator_step(game, 2)]
        assert all(value.shape == () and torch.isfinite(value) for value in values), loss
    for network in networks:
        gradients = [parameter.grad for parameter in network.parameters()]
        assert all(g is not None and torch.isfinite(g).all() for g in gradients)


def test_every_architecture_is_covered():
    assert set(ARCHITECTURES.names()) == set(NATIVE)
