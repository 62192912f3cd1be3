"""Gradient penalties with constant slopes: the same bits, and less arithmetic."""

from __future__ import annotations

import contextlib

import pytest
import torch

from gan_bench import regularizers
from gan_bench.registry import ARCHITECTURES, NORMALIZERS, REGULARIZERS
from gan_bench.sweep.arithmetic import FlopCounter


def gradients(architecture: str, normalizer: str, regularizer: str) -> tuple[list, int]:
    """D's gradients of a penalty, and the operations that they took."""
    torch.manual_seed(0)
    shape = (3, 16, 16)
    _, discriminator = ARCHITECTURES.build(
        architecture, image_shape=shape, latent_dim=4, normalizer=normalizer, width=1 / 16
    )
    real, fake = torch.rand(2, 4, *shape) * 2 - 1
    with FlopCounter() as counter:
        REGULARIZERS.build(regularizer)(discriminator, real, fake).backward()
    weights = list(discriminator.parameters())
    # a bias has no part in a slope: no gradient rather than zeros
    return [w.grad if w.grad is not None else torch.zeros_like(w) for w in weights], counter.flops


@pytest.mark.parametrize("regularizer", ["gradient_penalty", "dragan", "r1"])
@pytest.mark.parametrize("normalizer", NORMALIZERS.names())
@pytest.mark.parametrize("architecture", ["mlp", "dcgan", "sndcgan", "resnet_cifar"])
def test_gradients_are_the_same_and_cost_less(architecture, normalizer, regularizer, monkeypatch):
    ours, fewer = gradients(architecture, normalizer, regularizer)
    monkeypatch.setattr(regularizers, "ConstantSlopes", contextlib.nullcontext)
    theirs, more = gradients(architecture, normalizer, regularizer)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)
    if normalizer in ("none", "spectral_norm") and architecture != "resnet_cifar":
        # of forward, gradient, its two derivatives and two passes of zeros the last are saved
        assert fewer <= 0.72 * more
    else:  # a normalization has a second derivative; the residual network has ReLU
        assert fewer <= more
