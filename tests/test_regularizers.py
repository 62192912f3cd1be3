"""Penalties against closed forms: of a linear D the gradient is its weight, everywhere."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from gan_bench.errors import ConfigError
from gan_bench.interfaces import ConstrainsWeights
from gan_bench.registry import NORMALIZERS, REGULARIZERS
from gan_bench.regularizers import kernels

SHAPE = (3, 4, 4)


class Linear(nn.Module):
    """D(x) = w.x + b."""

    def __init__(self, norm: float) -> None:
        super().__init__()
        w = torch.randn(math.prod(SHAPE), dtype=torch.float64)
        self.w = nn.Parameter(norm * w / w.norm())
        self.b = nn.Parameter(torch.tensor(0.3, dtype=torch.float64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1) @ self.w + self.b


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return tuple(torch.rand(16, *SHAPE, dtype=torch.float64) * 2 - 1 for _ in range(2))


@pytest.mark.parametrize("name", ["gradient_penalty", "dragan"])
@pytest.mark.parametrize("norm", [0.2, 1.0, 3.0])
def test_unit_gradient_penalty_of_a_linear_discriminator(name, norm, batch):
    penalty = REGULARIZERS.build(name, weight=7.0)(Linear(norm), *batch)
    exact = 7.0 * (math.sqrt(1e-4 + norm**2) - 1) ** 2  # 1e-4 stands under the root by definition
    assert penalty.item() == pytest.approx(exact, rel=1e-5, abs=1e-9)
    assert penalty.item() == pytest.approx(7.0 * (norm - 1) ** 2, rel=1e-2, abs=1e-3)


def test_unit_interval_measures_the_gradient_at_images_in_0_1(batch):
    """x = 2 u - 1: the same D as a function of u has twice the gradient."""
    penalty = REGULARIZERS.build("gradient_penalty", weight=1.0, unit_interval=True)
    assert penalty(Linear(1.5), *batch).item() == pytest.approx((3.0 - 1) ** 2, rel=1e-4)


def test_r1_of_a_linear_discriminator(batch):
    penalty = REGULARIZERS.build("r1", weight=2.0)(Linear(3.0), *batch)
    assert penalty.item() == pytest.approx(2.0 * 0.5 * 9.0, rel=1e-6)


def test_r1_looks_at_real_images_only(batch):
    real, fake = batch
    quadratic = lambda x: 0.5 * x.flatten(1).square().sum(1)  # noqa: E731 - its gradient is x
    penalty = REGULARIZERS.build("r1", weight=2.0)(quadratic, real, fake)
    assert penalty.item() == pytest.approx(real.flatten(1).square().sum(1).mean().item(), rel=1e-5)


def test_gradient_penalty_points_lie_on_the_lines_with_one_factor_a_sample(batch):
    real, fake = batch
    points = REGULARIZERS.build("gradient_penalty").points(real, fake)
    factors = ((points - real) / (fake - real)).flatten(1)
    assert (factors.std(1) < 1e-9).all()
    assert ((factors >= 0) & (factors <= 1)).all() and factors[:, 0].std() > 0.1


def test_dragan_noise_has_the_stated_scale():
    torch.manual_seed(0)
    real = torch.randn(64, 3, 32, 32, dtype=torch.float64) * 0.1 + 0.2
    noise = REGULARIZERS.build("dragan").points(real, real) - real
    s = math.sqrt(((real - real.mean()) ** 2).mean())
    assert noise.abs().max() <= s / 2
    assert noise.std().item() == pytest.approx(s / math.sqrt(12), rel=0.01)  # of U[-s/2, s/2]
    assert noise.mean().item() == pytest.approx(0, abs=s / 100)


def test_dragan_points_stay_in_range():
    torch.manual_seed(0)
    real = torch.where(torch.rand(8, *SHAPE) < 0.5, -1.0, 1.0)
    points = REGULARIZERS.build("dragan").points(real, real)
    assert points.min() >= -1 and points.max() <= 1 and (points != real).any()


def test_dragan_scales_with_the_range_of_images(batch):
    """The noise on images in [-1, 1] is that on the same images in [0, 1], scaled by 2."""
    real, _ = batch
    dragan = REGULARIZERS.build("dragan")
    torch.manual_seed(1)
    wide = dragan.points(real, real) - real
    torch.manual_seed(1)
    unit = (real + 1) / 2
    u = torch.rand_like(unit) - 0.5
    narrow = (unit + unit.std(correction=0) * u).clamp(0, 1) - unit
    torch.testing.assert_close(wide, 2 * narrow)


def test_l2_is_the_mean_over_layers_of_half_the_squared_kernels():
    net = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Flatten(), nn.Linear(20, 1))
    exact = (0.5 * net[0].weight.square().sum() + 0.5 * net[3].weight.square().sum()) / 2
    penalty = REGULARIZERS.build("l2", weight=3.0)(net, torch.zeros(1), torch.zeros(1))
    assert penalty.item() == pytest.approx(3.0 * exact.item(), rel=1e-6)


def test_l2_penalizes_the_raw_kernel_of_a_spectrally_normalized_layer():
    layer = nn.Linear(6, 4)
    raw = layer.weight.detach().clone()
    (kernel,) = kernels(NORMALIZERS.build("spectral_norm").layer(layer))
    torch.testing.assert_close(kernel.detach(), raw)


def test_weight_clipping_bounds_every_parameter_after_the_step(batch):
    clipping = REGULARIZERS.build("weight_clipping", bound=0.05)
    net = Linear(3.0)
    assert clipping(net, *batch).item() == 0
    assert isinstance(clipping, ConstrainsWeights)
    clipping.after_step(net)
    assert all(parameter.abs().max() <= 0.05 for parameter in net.parameters())


@pytest.mark.parametrize("name", REGULARIZERS.names())
def test_contract(name, batch):
    """A differentiable finite scalar for any batch, in the images' precision or above."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(48, 8), nn.Tanh(), nn.Linear(8, 1), nn.Flatten(0))
    real, fake = (images.float() for images in batch)
    penalty = REGULARIZERS.build(name)(net, real, fake)
    assert penalty.shape == () and torch.isfinite(penalty)
    if penalty.requires_grad:
        penalty.backward()
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


@pytest.mark.parametrize("name", ["gradient_penalty", "dragan", "r1", "l2"])
def test_weight_scales_the_penalty(name, batch):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(48, 1), nn.Flatten(0)).double()
    values = []
    for weight in (1.0, 4.0):
        torch.manual_seed(1)
        values.append(REGULARIZERS.build(name, weight=weight)(net, *batch).item())
    assert values[1] == pytest.approx(4 * values[0], rel=1e-6)


@pytest.mark.parametrize("name", ["gradient_penalty", "dragan", "r1", "l2"])
def test_negative_weight_is_refused(name):
    with pytest.raises(ConfigError, match="weight is -1"):
        REGULARIZERS.build(name, weight=-1.0)
