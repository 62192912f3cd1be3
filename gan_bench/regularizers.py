"""Regularizers of D: a term added to its loss (weight included), or a bound on its weights.

Gradients are taken at images in [-1, 1]. compare_gan takes them at images in [0, 1], where the
same function has gradients twice as large: `unit_interval=true` measures in those units, for
reproducing its figures.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gan_bench.errors import require
from gan_bench.interfaces import Discriminator
from gan_bench.piecewise import ConstantSlopes
from gan_bench.registry import REGULARIZERS

_NORM_EPS = 1e-4
"""Under the root of the gradient's norm, as in compare_gan: the root has no slope at zero."""


def squared_gradients(discriminator: Discriminator, images: Tensor) -> Tensor:
    """Return sum over pixels of (dD/dx)^2 per image, (N,), differentiable in D's parameters."""
    images = images.detach().requires_grad_(True)
    with ConstantSlopes():
        logits = discriminator(images)
    (gradient,) = torch.autograd.grad(logits.float().sum(), images, create_graph=True)
    return gradient.float().square().flatten(1).sum(1)


def _check_weight(weight: float) -> float:
    require(weight >= 0, f"regularizer.weight is {weight}; it can't be negative")
    return weight


@REGULARIZERS.register("none")
class NoRegularizer:
    """No term."""

    def __call__(self, discriminator: Discriminator, real: Tensor, fake: Tensor) -> Tensor:
        """Return 0."""
        return real.new_zeros(())


class GradientRegularizer:
    """A penalty on the gradient of D at some points; trials that train together share its pass."""

    def points(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the images (N, C, H, W) at which the gradient is taken."""
        raise NotImplementedError

    def penalty(self, squares: Tensor) -> Tensor:
        """Return the penalty for the squared norms (N,) of the gradients at the points."""
        raise NotImplementedError

    def __call__(self, discriminator: Discriminator, real: Tensor, fake: Tensor) -> Tensor:
        """Return the penalty for images (N, C, H, W) in [-1, 1]."""
        return self.penalty(squared_gradients(discriminator, self.points(real, fake)))


class _UnitGradient(GradientRegularizer):
    """weight * E (||grad D|| - 1)^2 at points between or around the data."""

    def __init__(self, *, weight: float = 10.0, unit_interval: bool = False) -> None:
        """Set the term's weight (lambda) and the units of the gradient.

        Args:
            weight: Factor of the penalty, not negative.
            unit_interval: Measure the gradient at images scaled to [0, 1], as compare_gan does.

        Raises:
            ConfigError: The weight is negative.
        """
        self._weight = _check_weight(weight)
        self._scale = 2.0 if unit_interval else 1.0

    def penalty(self, squares: Tensor) -> Tensor:
        """Return weight * E (norm - 1)^2."""
        norms = (squares * self._scale**2 + _NORM_EPS).sqrt()
        return self._weight * (norms - 1).square().mean()


@REGULARIZERS.register("gradient_penalty", aliases=("gp",), source="arXiv 1704.00028")
class GradientPenalty(_UnitGradient):
    """Unit gradient norm on lines between real and generated images."""

    def points(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return x + a (G(z) - x), a ~ U[0, 1] for each sample."""
        shape = (len(real),) + (1,) * (real.dim() - 1)
        a = torch.rand(shape, device=real.device, dtype=real.dtype)
        return real + a * (fake.detach() - real)


@REGULARIZERS.register(
    "dragan", aliases=("dr",), source="arXiv 1705.07215, as in compare_gan: noise U[-1/2, 1/2]"
)
class Dragan(_UnitGradient):
    """Unit gradient norm around the real images."""

    def points(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return clip(x + s u, -1, 1), u ~ U[-1/2, 1/2] per pixel.

        s is the population standard deviation over all pixels of the real batch. It scales with
        the images' range, so the noise is to [-1, 1] what compare_gan's is to [0, 1].
        """
        noise = torch.rand_like(real) - 0.5
        return (real + real.std(correction=0) * noise).clamp(-1, 1)


@REGULARIZERS.register("r1", source="arXiv 1801.04406, eq. 9")
class R1(GradientRegularizer):
    """Zero gradient on real images: 0.5 E ||grad D(x)||^2."""

    def __init__(self, *, weight: float = 10.0) -> None:
        """Set the term's weight (gamma), not negative (ConfigError)."""
        self._weight = _check_weight(weight)

    def points(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the real images."""
        return real

    def penalty(self, squares: Tensor) -> Tensor:
        """Return 0.5 weight E norm^2."""
        return self._weight * 0.5 * squares.mean()


@REGULARIZERS.register("l2", source="compare_gan: l2_penalty")
class L2:
    """Mean over D's convolution and linear layers of 0.5 ||W||^2, kernels only."""

    def __init__(self, *, weight: float = 1e-3) -> None:
        """Set the term's weight (lambda), not negative (ConfigError)."""
        self._weight = _check_weight(weight)

    def __call__(self, discriminator: Discriminator, real: Tensor, fake: Tensor) -> Tensor:
        """Return the penalty; the images do not matter."""
        if not isinstance(discriminator, nn.Module):
            raise TypeError("the l2 regularizer needs D as a module: it reads its kernels")
        squares = [0.5 * kernel.square().sum() for kernel in kernels(discriminator)]
        return self._weight * torch.stack(squares).mean()


@REGULARIZERS.register("weight_clipping", aliases=("clip",), source="arXiv 1701.07875, algorithm 1")
class WeightClipping:
    """Every parameter of D clipped to [-bound, bound] after each of its steps."""

    def __init__(self, *, bound: float = 0.01) -> None:
        """Set the bound c, above 0 (ConfigError)."""
        require(bound > 0, f"regularizer.bound is {bound}; it must be above 0")
        self._bound = bound

    def __call__(self, discriminator: Discriminator, real: Tensor, fake: Tensor) -> Tensor:
        """Return 0: it acts after the step."""
        return real.new_zeros(())

    @torch.no_grad()
    def after_step(self, discriminator: nn.Module) -> None:
        """Clip D's parameters in place."""
        for parameter in discriminator.parameters():
            parameter.clamp_(-self._bound, self._bound)


def kernels(module: nn.Module) -> list[Tensor]:
    """Return the trainable kernels of convolutions and linear layers, without biases.

    Of a spectrally normalized layer it is the raw kernel, as compare_gan penalizes it.
    """
    found = []
    for layer in module.modules():
        if isinstance(layer, (nn.Linear, nn.modules.conv._ConvNd)):
            parametrizations = getattr(layer, "parametrizations", None)
            if parametrizations is not None and "weight" in parametrizations:
                found.append(parametrizations.weight.original)
            else:
                found.append(layer.weight)
    return found
