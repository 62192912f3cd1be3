"""The generator's condition number: known matrices, finite differences, singular generators."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from analysis_context import Mapped, context_of
from torch import nn

from gan_bench.analyses.jacobian_conditioning import JacobianConditioning, singular_values
from gan_bench.errors import ConfigError, DataError
from gan_bench.registry import ARCHITECTURES

SHAPE = (1, 4, 5)


def matrix_with(values: list[float]) -> torch.Tensor:
    """20 x d, with these singular values."""
    rng = np.random.default_rng(3)
    left, _ = np.linalg.qr(rng.normal(size=(math.prod(SHAPE), len(values))))
    right, _ = np.linalg.qr(rng.normal(size=(len(values), len(values))))
    return torch.from_numpy(left * values @ right.T).float()


class Linear(nn.Module):
    def __init__(self, matrix: torch.Tensor) -> None:
        super().__init__()
        self.matrix = nn.Parameter(matrix)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        return (latents @ self.matrix.T).reshape(-1, *SHAPE)


def test_a_linear_generator_has_the_condition_number_of_its_matrix():
    found = JacobianConditioning(latents=5)(
        context_of(Linear(matrix_with([8.0, 3.0, 0.5])), SHAPE, "latent.dim=3")
    )
    assert found["log_condition_number_mean"] == pytest.approx(2 * math.log(16), abs=1e-5)
    assert found["log_condition_number_std"] == pytest.approx(0, abs=1e-12)
    assert found["log_condition_number_count"] == 5


def test_ill_conditioned_generators_keep_their_figure():
    """Beyond what float32, or the eigenvalues of J'J, could tell from singular."""
    matrix = torch.zeros(20, 2)
    matrix[0, 0], matrix[1, 1] = 1.0, 1e-10
    found = JacobianConditioning(latents=2)(context_of(Linear(matrix), SHAPE, "latent.dim=2"))
    assert found["log_condition_number_mean"] == pytest.approx(20 * math.log(10), rel=1e-6)


def by_differences(network: nn.Module, latents: torch.Tensor) -> np.ndarray:
    """Singular values (n, d) of the Jacobian by central differences in double precision."""
    exact, step = copy.deepcopy(network).double(), 1e-6
    columns = []
    for direction in torch.eye(latents.shape[1], dtype=torch.float64):
        z, shift = latents.double(), step * direction
        columns.append((exact(z + shift) - exact(z - shift)).flatten(1) / (2 * step))
    return np.linalg.svd(torch.stack(columns, 2).numpy(), compute_uv=False)


def test_a_perceptron_agrees_with_finite_differences():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 20), nn.Sigmoid())
    network.requires_grad_(False)
    z = torch.randn(6, 3)
    found = singular_values(network, z)
    np.testing.assert_allclose(found.numpy(), by_differences(network, z), rtol=1e-6)


@pytest.mark.parametrize("name", ["dcgan", "infogan", "mlp", "resnet_cifar", "sndcgan"])
def test_every_kind_of_generator_can_be_differentiated(name: str):
    torch.manual_seed(0)
    options = {} if name == "mlp" else {"width": 1 / 16}
    generator, _ = ARCHITECTURES.build(name, image_shape=(3, 32, 32), latent_dim=4, **options)
    generator(torch.randn(16, 4))  # batch norm's averages: others than the initial ones
    generator.eval().requires_grad_(False)
    z = torch.randn(2, 4)
    found = singular_values(generator, z)
    np.testing.assert_allclose(found.numpy(), by_differences(generator, z), rtol=1e-4)


def test_singular_latents_are_left_out_and_counted():
    """x = relu(z): rank 2 where both latents are positive."""
    generator = Mapped(lambda z: nn.functional.pad(z.relu(), (0, 18)), SHAPE)
    context = context_of(generator, SHAPE, "latent.dim=2")
    positive = int((context_of(generator, SHAPE, "latent.dim=2").latents(64) > 0).all(1).sum())
    found = JacobianConditioning()(context)
    assert 0 < positive < 64 and found["log_condition_number_count"] == positive
    assert found["log_condition_number_mean"] == 0


def test_what_has_no_condition_number_is_refused():
    blind = Mapped(lambda z: nn.functional.pad(z[:, :1], (0, 19)), SHAPE)
    with pytest.raises(DataError, match="ignores a direction"):
        JacobianConditioning(latents=3)(context_of(blind, SHAPE, "latent.dim=2"))
    narrow = Mapped(lambda z: z[:, :20], SHAPE)
    with pytest.raises(DataError, match="latent.dim of 20 or less"):
        JacobianConditioning(latents=3)(context_of(narrow, SHAPE, "latent.dim=21"))
    with pytest.raises(ConfigError, match="latents is 0"):
        JacobianConditioning(latents=0)
