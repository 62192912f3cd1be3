"""Normalizers of D: spectral norm against the SVD, layer norm against its definition."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from gan_bench.errors import ConfigError
from gan_bench.registry import ARCHITECTURES, NORMALIZERS

SHAPES = {
    "mlp": (1, 8, 8), "infogan": (1, 28, 28), "dcgan": (3, 32, 32), "sndcgan": (3, 32, 32),
    "resnet_cifar": (3, 32, 32), "resnet_stl": (3, 48, 48), "resnet19": (3, 32, 32),
}  # fmt: skip
# linear and convolution layers of D, counted in the specification
LAYERS = {
    "mlp": 3, "infogan": 4, "dcgan": 5, "sndcgan": 8, "resnet_cifar": 13, "resnet_stl": 16,
    "resnet19": 19,
}  # fmt: skip


def weighted(network: nn.Module) -> list[nn.Module]:
    return [m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]


def discriminator(architecture: str, normalizer: str, width: float = 0.1) -> nn.Module:
    torch.manual_seed(0)
    return ARCHITECTURES.build(
        architecture, image_shape=SHAPES[architecture], normalizer=normalizer, width=width
    )[1]


@pytest.mark.parametrize("architecture", sorted(SHAPES))
def test_spectral_norm_brings_every_largest_singular_value_to_one(architecture):
    d = discriminator(architecture, "spectral_norm")
    images = torch.rand(2, *SHAPES[architecture]) * 2 - 1
    for _ in range(150):
        d(images)
    d.eval()
    layers = weighted(d)
    assert len(layers) == LAYERS[architecture]
    for layer in layers:
        matrix = layer.weight.detach().flatten(1).double()
        assert torch.linalg.svdvals(matrix)[0].item() == pytest.approx(1, abs=5e-3)


def test_spectral_norm_makes_one_power_iteration_a_training_forward_and_none_in_evaluation():
    torch.manual_seed(0)
    layer = NORMALIZERS.build("sn").layer(nn.Linear(7, 5, bias=False))
    raw = layer.parametrizations.weight.original.detach().clone()
    norm = layer.parametrizations.weight[0]
    u = norm._u.clone()
    layer(torch.zeros(1, 7))
    v = torch.nn.functional.normalize(raw.T @ u, dim=0, eps=1e-12)
    expected = torch.nn.functional.normalize(raw @ v, dim=0, eps=1e-12)
    torch.testing.assert_close(norm._u, expected)
    layer.eval()
    before = norm._u.clone()
    layer(torch.zeros(1, 7))
    assert torch.equal(norm._u, before)
    torch.testing.assert_close(layer.weight, raw / (norm._u @ raw @ norm._v))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("make", [lambda: nn.Conv2d(5, 7, 3), lambda: nn.Linear(6, 4)])
def test_spectral_norm_is_what_pytorch_computes(make, memory_format):
    """The same random draws, buffers, weights and gradients, and states that can be exchanged."""
    layers = []
    for wrap in (NORMALIZERS.build("sn").layer, parametrizations.spectral_norm):
        torch.manual_seed(0)
        layer = wrap(make())
        if isinstance(layer, nn.Conv2d):
            layer = layer.to(memory_format=memory_format)
        layers.append((layer, torch.rand(3)))
    (ours, next_draw), (theirs, their_draw) = layers
    assert torch.equal(next_draw, their_draw)
    theirs.load_state_dict(ours.state_dict())
    images = torch.rand(2, 5, 6, 6) if isinstance(ours, nn.Conv2d) else torch.rand(2, 6)
    for training in (True, True, False):
        found = []
        for layer in (ours.train(training), theirs.train(training)):
            layer.zero_grad()
            # two forwards before the backward, as in a D step
            (layer(images).square().mean() + layer(-images).mean()).backward()
            raw = layer.parametrizations.weight
            found.append([raw.original.grad, raw[0]._u, raw[0]._v, layer.weight.detach()])
        for one, other in zip(*found, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    ours.load_state_dict(theirs.state_dict())


def test_no_gradient_flows_through_the_singular_vectors():
    """dW_sn/dW = (G - sum(G * W_sn) u v^T) / sigma with u, v held fixed (the paper's eq. 12)."""
    torch.manual_seed(0)
    layer = NORMALIZERS.build("sn").layer(nn.Linear(4, 3, bias=False)).eval()
    norm = layer.parametrizations.weight[0]
    raw = layer.parametrizations.weight.original
    g = torch.randn(3, 4)
    weight = layer.weight
    (weight * g).sum().backward()
    sigma = norm._u @ raw.detach() @ norm._v
    exact = (g - (g * weight.detach()).sum() * torch.outer(norm._u, norm._v)) / sigma
    torch.testing.assert_close(raw.grad, exact)


def test_layer_norm_takes_statistics_over_channels_and_pixels():
    torch.manual_seed(0)
    norm = NORMALIZERS.build("ln").features(6)
    images = torch.randn(4, 6, 5, 5) * 3 + 2
    exact = (images - images.mean((1, 2, 3), keepdim=True)) / (
        images.var((1, 2, 3), keepdim=True, correction=0) + 1e-5
    ).sqrt()
    torch.testing.assert_close(norm(images), exact)
    assert [tuple(p.shape) for p in norm.parameters()] == [(6,), (6,)]
    flat = NORMALIZERS.build("ln").features(6, spatial=False)(images[:, :, 0, 0])
    torch.testing.assert_close(flat.mean(1), torch.zeros(4), atol=1e-6, rtol=0)


# normalization positions of D in the specification (SNDCGAN: all convolutions but the first)
POSITIONS = {
    "mlp": 1, "infogan": 2, "dcgan": 3, "sndcgan": 6, "resnet_cifar": 8, "resnet_stl": 10,
    "resnet19": 12,
}  # fmt: skip


@pytest.mark.parametrize("architecture", sorted(POSITIONS))
@pytest.mark.parametrize(
    ("normalizer", "kinds"),
    [("bn", (nn.BatchNorm1d, nn.BatchNorm2d)), ("ln", (nn.GroupNorm,)), ("none", ()), ("sn", ())],
)
def test_normalization_stands_at_its_positions(architecture, normalizer, kinds):
    norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm)
    found = [m for m in discriminator(architecture, normalizer).modules() if isinstance(m, norms)]
    assert all(isinstance(module, kinds) for module in found)
    assert len(found) == (POSITIONS[architecture] if kinds else 0)


@pytest.mark.parametrize("normalizer", NORMALIZERS.names())
def test_a_gradient_of_the_input_gradient_reaches_the_weights(normalizer):
    """What gradient penalties need of any normalizer."""
    d = discriminator("resnet_cifar", normalizer, width=0.05)
    images = (torch.rand(3, 3, 32, 32) * 2 - 1).requires_grad_()
    (gradient,) = torch.autograd.grad(d(images).sum(), images, create_graph=True)
    gradient.square().sum().backward()
    kernels = [p for p in d.parameters() if p.dim() > 1]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in kernels)


def test_constants_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="eps"):
        NORMALIZERS.build("batch_norm", eps=0.0)
    with pytest.raises(ConfigError, match="momentum"):
        NORMALIZERS.build("batch_norm", momentum=1.5)
