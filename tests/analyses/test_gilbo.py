"""GILBO: channels whose information, or whose best bound, has a closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from analysis_context import Mapped, context_of
from scipy import optimize, special, stats

from gan_bench.analyses.gilbo import Encoder, Gilbo, information
from gan_bench.errors import ConfigError

SHAPE = (1, 4, 4)
QUICK = {"steps": 400, "batch_size": 64, "learning_rate": 3e-3, "evaluation_pairs": 2000}


def image_of(values: torch.Tensor) -> torch.Tensor:
    """Repeat (n, 2) over 16 pixels."""
    return values.repeat(1, 8)


@pytest.mark.slow
def test_a_constant_generator_tells_nothing():
    for distribution in ("uniform", "normal"):
        context = context_of(
            Mapped(lambda z: torch.zeros(len(z), 16), SHAPE), SHAPE,
            "latent.dim=3", f"latent.distribution={distribution}",
        )  # fmt: skip
        found = Gilbo(**QUICK)(context)
        assert -0.1 < found["gilbo"] < 3 * found["gilbo_std_error"] + 1e-3
        assert found["gilbo_self_consistency"] < 1e-9  # one image, one encoding


def test_a_linear_gaussian_channel_approaches_its_mutual_information():
    """x = z + noise: I = d/2 log(1 + 1 / noise^2), the posterior is Gaussian, the bound tight."""
    noise = 0.5
    generator = Mapped(lambda z: image_of(z + noise * torch.randn_like(z)), SHAPE)
    context = context_of(generator, SHAPE, "latent.dim=2", "latent.distribution=normal")
    found = Gilbo(**QUICK)(context)
    exact = math.log(1 + 1 / noise**2)
    assert 0.93 * exact < found["gilbo"] < exact + 3 * found["gilbo_std_error"]


def best_beta_for_a_sign() -> float:
    """The largest mean of log e(z) - log p(z) for z ~ U[0, 1] and e a stretched Beta, a, b >= 1.

    With u = (1 + z) / 2 uniform on [1/2, 1], E[log u] = log 2 - 1 and E[log(1 - u)] = -log 2 - 1;
    the stretch and the prior's density cancel.
    """

    def loss(above_one: np.ndarray) -> float:
        a, b = 1 + above_one
        return float(
            special.betaln(a, b) - (a - 1) * (math.log(2) - 1) + (b - 1) * (math.log(2) + 1)
        )

    return -optimize.minimize(loss, np.ones(2), bounds=[(0, None)] * 2).fun


def test_a_sign_gives_what_a_beta_can_tell_of_it():
    """x = sign(z) holds log 2 a dimension; a Beta can't be uniform on a half, so it finds less."""
    best = 2 * best_beta_for_a_sign()
    assert 0 < best < 2 * math.log(2)
    generator = Mapped(lambda z: image_of(z.sign()), SHAPE)
    found = Gilbo(**QUICK)(context_of(generator, SHAPE, "latent.dim=2"))
    assert found["gilbo"] == pytest.approx(best, abs=3 * found["gilbo_std_error"])


@pytest.mark.parametrize("distribution", ["uniform", "normal"])
def test_densities_are_those_of_scipy(distribution: str):
    generator = Mapped(image_of, SHAPE)
    context = context_of(generator, SHAPE, "latent.dim=2", f"latent.distribution={distribution}")
    encoder, z = Encoder(context), context.latents(9)
    found = information(encoder, context, z).detach().numpy()
    raw = encoder._layers(generator(z)).detach().double().numpy()
    a, b, z = raw[:, :2], raw[:, 2:], z.double().numpy()
    if distribution == "uniform":
        a, b = 1 + np.log1p(np.exp(a - 5)), 1 + np.log1p(np.exp(b - 5))
        expected = stats.beta.logpdf(z, a, b, loc=-1, scale=2) - stats.uniform.logpdf(z, -1, 2)
    else:
        expected = stats.norm.logpdf(z, a, np.log1p(np.exp(b))) - stats.norm.logpdf(z)
    np.testing.assert_allclose(found, expected.sum(1), rtol=1e-9)


@pytest.mark.parametrize("edge", [-1.0, 1.0])
def test_latents_at_the_ends_have_finite_information(edge: float):
    context = context_of(Mapped(image_of, SHAPE), SHAPE, "latent.dim=2")
    z = torch.full((1, 2), edge)
    assert torch.isfinite(information(Encoder(context), context, z)).all()


def test_options_out_of_range_and_divergence_are_clear_errors():
    for wrong in ({"steps": 0}, {"batch_size": 0}, {"learning_rate": 0.0}, {"evaluation_pairs": 1}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            Gilbo(**wrong)
    context = context_of(Mapped(image_of, SHAPE), SHAPE, "latent.dim=2")
    with pytest.raises(ConfigError, match="lower analysis.learning_rate"):
        Gilbo(steps=20, learning_rate=1e30, evaluation_pairs=10)(context)
