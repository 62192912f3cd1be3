"""Each loss against its formula written out in numpy float64, and at points with known values."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from gan_bench.errors import ConfigError
from gan_bench.registry import LOSSES

RNG = np.random.default_rng(0)
REAL, FAKE = RNG.normal(0.5, 3, 257), RNG.normal(-0.5, 3, 257)


def sigma(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


# (name, options, D's loss, G's loss), each written with probabilities where the paper does
FORMULAS = [
    (
        "non_saturating", {},
        lambda r, f: -np.log(sigma(r)).mean() - np.log(1 - sigma(f)).mean(),
        lambda f: -np.log(sigma(f)).mean(),
    ),
    (
        "minimax", {},
        lambda r, f: -np.log(sigma(r)).mean() - np.log(1 - sigma(f)).mean(),
        lambda f: np.log(1 - sigma(f)).mean(),
    ),
    (
        "least_squares", {"on": "logits"},
        lambda r, f: 0.5 * (((r - 1) ** 2).mean() + (f**2).mean()),
        lambda f: 0.5 * ((f - 1) ** 2).mean(),
    ),
    (
        "least_squares", {"on": "probabilities"},
        lambda r, f: 0.5 * (((sigma(r) - 1) ** 2).mean() + (sigma(f) ** 2).mean()),
        lambda f: 0.5 * ((sigma(f) - 1) ** 2).mean(),
    ),
    ("wasserstein", {}, lambda r, f: -r.mean() + f.mean(), lambda f: -f.mean()),
    (
        "wasserstein", {"drift": 0.1},
        lambda r, f: -r.mean() + f.mean() + 0.1 * (r**2).mean(),
        lambda f: -f.mean(),
    ),
    (
        "hinge", {},
        lambda r, f: np.maximum(0, 1 - r).mean() + np.maximum(0, 1 + f).mean(),
        lambda f: -f.mean(),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options", "d_formula", "g_formula"), FORMULAS)
def test_formula(name, options, d_formula, g_formula):
    loss = LOSSES.build(name, **options)
    real, fake = torch.from_numpy(REAL), torch.from_numpy(FAKE)
    assert loss.discriminator(real, fake).item() == pytest.approx(d_formula(REAL, FAKE), rel=1e-12)
    assert loss.generator(fake).item() == pytest.approx(g_formula(FAKE), rel=1e-12)


def test_every_loss_has_a_formula_here():
    shipped = {
        n for n in LOSSES.names() if LOSSES.entry(n).builder.__module__ == "gan_bench.losses"
    }
    assert shipped == {row[0] for row in FORMULAS}


@pytest.mark.parametrize("name", ["non_saturating", "minimax"])
def test_discriminator_loss_at_equilibrium_is_two_ln_two(name):
    half = torch.zeros(8, dtype=torch.float64)  # logit 0: D = 1/2
    assert LOSSES.build(name).discriminator(half, half).item() == pytest.approx(2 * math.log(2))


@pytest.mark.parametrize("name", LOSSES.names())
def test_contract(name):
    """Scalars that fall when D is more right (or G fools it more), finite at extreme logits."""
    loss = LOSSES.build(name)
    ones = torch.full((4,), 0.5)
    assert loss.discriminator(ones, -ones) < loss.discriminator(-ones, ones)
    assert loss.generator(ones) < loss.generator(-ones)
    extreme = torch.tensor([-1e4, 1e4], requires_grad=True)
    value = loss.discriminator(extreme, extreme) + loss.generator(extreme)
    assert value.shape == () and torch.isfinite(value)
    (gradient,) = torch.autograd.grad(value, extreme)
    assert torch.isfinite(gradient).all()


def test_options_out_of_range():
    with pytest.raises(ConfigError, match="did you mean 'logits'"):
        LOSSES.build("least_squares", on="logit")
    with pytest.raises(ConfigError, match="negative"):
        LOSSES.build("wasserstein", drift=-1.0)
