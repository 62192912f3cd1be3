"""The fractal dimension: sets of known dimension, and compare_gan's steps done naively."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from analysis_context import Mapped, context_of

from gan_bench.analyses.fractal_dimension import FractalDimension, dimension
from gan_bench.errors import ConfigError, DataError

SHAPE = (1, 4, 5)


def embedded(z: torch.Tensor) -> torch.Tensor:
    """Turn points (n, d) into images by an isometry, so that every pixel varies."""
    rng = np.random.default_rng(1)
    basis, _ = np.linalg.qr(rng.normal(size=(math.prod(SHAPE), math.prod(SHAPE))))
    return z @ torch.from_numpy(basis[: z.shape[1]]).float()


@pytest.mark.parametrize(("dim", "tolerance"), [(1, 0.05), (2, 0.1), (3, 0.35)])
def test_line_square_and_cube(dim: int, tolerance: float):
    """U[-1, 1]^d; the tolerances of compare_gan's own tests. Edges make a filled cube's lower."""
    context = context_of(Mapped(embedded, SHAPE), SHAPE, f"latent.dim={dim}")
    found = FractalDimension()(context)["fractal_dimension"]
    assert found == pytest.approx(dim, abs=tolerance)


def test_scale_and_batch_size_do_not_matter():
    def figure(scale: float, batch_size: int) -> float:
        generator = Mapped(lambda z: embedded(z) * scale, SHAPE)
        overrides = ("latent.dim=2", f"evaluator.batch_size={batch_size}")
        context = context_of(generator, SHAPE, *overrides)
        return FractalDimension(images=1000)(context)["fractal_dimension"]

    assert figure(1.0, 256) == pytest.approx(figure(0.01, 33), rel=1e-4)


def naive(distances: list[list[float]]) -> float:
    """compare_gan's steps in plain Python; the line by the textbook formula."""
    points, centres = len(distances), len(distances[0])
    every = [d for row in distances for d in row]
    low, high = min(d for d in every if d > 0), max(every)
    x, y = [], []
    for i in range(1, 1000):
        radius = low * (high / low) ** (i / 999)
        count = sum(d < radius for d in every)
        share = (math.log(count) - math.log(centres)) / math.log(points)
        if 0.4 < share <= 0.6:
            x.append(math.log(radius))
            y.append(math.log(count))
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    covariance = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return covariance / sum((a - mean_x) ** 2 for a in x)


def test_as_the_naive_steps():
    points = np.random.default_rng(5).normal(size=(90, 4))
    distances = np.linalg.norm(points[:, None] - points[None, :7], axis=2)
    assert dimension(distances) == pytest.approx(naive(distances.tolist()), rel=1e-9)


def test_what_has_no_dimension_is_refused():
    constant = Mapped(lambda z: torch.ones(len(z), 20), SHAPE)
    with pytest.raises(DataError, match="all equal"):
        FractalDimension(images=300)(context_of(constant, SHAPE))
    two = Mapped(lambda z: embedded(z[:, :1].sign()), SHAPE)
    with pytest.raises(DataError, match="collapsed"):
        FractalDimension(images=300)(context_of(two, SHAPE))
    with pytest.raises(ConfigError, match="more images than centres"):
        FractalDimension(images=100)
