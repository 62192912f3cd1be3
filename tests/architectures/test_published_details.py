"""What the published networks do beyond their sizes: initial values, norms, ranges, gradients."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from gan_bench.architectures.layers import SameConv2d, SameConvTranspose2d
from gan_bench.architectures.resnet import unpool
from gan_bench.errors import ConfigError
from gan_bench.registry import ARCHITECTURES, NORMALIZERS

SHAPES = {
    "mlp": (1, 8, 8), "infogan": (1, 28, 28), "dcgan": (3, 32, 32), "sndcgan": (3, 32, 32),
    "resnet_cifar": (3, 32, 32), "resnet_stl": (3, 48, 48), "resnet19": (3, 32, 32),
}  # fmt: skip
WEIGHTED = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm)


def pair(name: str, normalizer: object = "none", width: float = 0.1) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    return ARCHITECTURES.build(
        name, image_shape=SHAPES[name], normalizer=normalizer, width=width, latent_dim=16
    )


def layers_of(network: nn.Module) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, WEIGHTED)]


def raw_weight(layer: nn.Module) -> torch.Tensor:
    """The weight that is trained: the one beneath spectral norm, where there is one."""
    if hasattr(layer, "parametrizations"):
        return layer.parametrizations.weight.original.detach()
    return layer.weight.detach()


@pytest.mark.parametrize("normalizer", ["none", "spectral_norm"])
@pytest.mark.parametrize("name", sorted(set(SHAPES) - {"mlp"}))
def test_every_layer_starts_from_n_0_002_and_zero_bias(name, normalizer):
    for network in pair(name, normalizer):
        for layer in layers_of(network):
            weight = raw_weight(layer)
            # six standard errors of a mean and of a standard deviation of normal numbers
            assert abs(weight.mean().item()) < 6 * 0.02 / math.sqrt(weight.numel())
            if weight.numel() > 100:
                assert weight.std().item() == pytest.approx(
                    0.02, rel=6 / math.sqrt(2 * weight.numel())
                )
            assert (layer.bias == 0).all()


def test_mlp_starts_from_weights_that_keep_the_variance():
    """He's variance: 2 / ((1 + slope^2) fan_in)."""
    g, d = pair("mlp", width=1.0)
    slopes = [(g, [0.0, 0.0, 1.0]), (d, [0.2, 0.2, 1.0])]
    for network, expected in slopes:
        for layer, slope in zip(layers_of(network), expected, strict=True):
            std = math.sqrt(2 / ((1 + slope**2) * layer.in_features))
            tolerance = 6 / math.sqrt(2 * layer.weight.numel())
            assert layer.weight.std().item() == pytest.approx(std, rel=tolerance)
            assert (layer.bias == 0).all()


# a batch norm after each layer but the last; in the residual nets two a block and a last one
GENERATOR_NORMS = {
    "mlp": 0, "infogan": 3, "dcgan": 4, "sndcgan": 4, "resnet_cifar": 2 * 3 + 1,
    "resnet_stl": 2 * 3 + 1, "resnet19": 2 * 5 + 1,
}  # fmt: skip


@pytest.mark.parametrize("normalizer", NORMALIZERS.names())
@pytest.mark.parametrize("name", sorted(SHAPES))
def test_batch_norm_of_generators_does_not_depend_on_the_normalizer_of_d(name, normalizer):
    g, _ = pair(name, normalizer)
    norms = [module for module in g.modules() if isinstance(module, NORMS)]
    assert len(norms) == GENERATOR_NORMS[name]
    assert all(isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) for module in norms)
    assert not any(hasattr(layer, "parametrizations") for layer in layers_of(g))


@pytest.mark.parametrize("normalizer", NORMALIZERS.names())
@pytest.mark.parametrize("name", sorted(SHAPES))
def test_logits_and_the_gradient_of_a_gradient_for_every_normalizer(name, normalizer):
    """Logits are (N,), and a gradient penalty reaches every kernel of D."""
    _, d = pair(name, normalizer, width=0.05)
    images = (torch.rand(4, *SHAPES[name]) * 2 - 1).requires_grad_()
    logits = d(images)
    assert logits.shape == (4,) and logits.isfinite().all()
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    gradient.flatten(1).square().sum(1).add(1e-12).sqrt().sub(1).square().mean().backward()
    kernels = [parameter for parameter in d.parameters() if parameter.dim() > 1]
    for kernel in kernels:
        assert kernel.grad is not None and kernel.grad.isfinite().all()
        assert kernel.grad.abs().sum() > 0


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_one_power_iteration_in_every_layer_a_training_forward_and_none_in_evaluation(name):
    _, d = pair(name, "spectral_norm")
    images = torch.rand(2, *SHAPES[name]) * 2 - 1
    norms = [layer.parametrizations.weight[0] for layer in layers_of(d)]
    expected = []
    for layer, norm in zip(layers_of(d), norms, strict=True):
        matrix = raw_weight(layer).flatten(1)
        v = functional.normalize(matrix.T @ norm._u, dim=0, eps=1e-12)
        expected.append(functional.normalize(matrix @ v, dim=0, eps=1e-12))
    d(images)
    for norm, u in zip(norms, expected, strict=True):
        torch.testing.assert_close(norm._u, u)
    d.eval()
    before = [norm._u.clone() for norm in norms]
    d(images)
    assert all(torch.equal(norm._u, u) for norm, u in zip(norms, before, strict=True))


@pytest.mark.parametrize(
    ("name", "black"),
    [("dcgan", -1.0), ("infogan", -1.0), ("resnet_cifar", -1.0), ("sndcgan", 0.0)],
)
def test_padding_is_black_where_the_original_has_images_from_0_to_1(name, black):
    """Without biases, an image of what is padded with gives the logit 0 and no other does."""
    _, d = pair(name)
    flat = torch.full((1, *SHAPES[name]), black)
    assert d(flat).item() == 0
    assert d(flat + 0.5).item() != 0


def test_dcgan_halves_28_upwards_and_doubles_back():
    g, d = ARCHITECTURES.build("dcgan", image_shape=(1, 28, 28), latent_dim=16, width=1 / 32)
    sides: dict[str, list[int]] = {"g": [], "d": []}

    def note(key: str) -> object:
        return lambda module, inputs, output: sides[key].append(output.shape[-1])

    for key, network, kind in (("g", g, SameConvTranspose2d), ("d", d, SameConv2d)):
        for module in network.modules():
            if isinstance(module, kind):
                module.register_forward_hook(note(key))
    d(g(torch.randn(2, 16)))
    assert sides == {"g": [4, 7, 14, 28], "d": [14, 7, 4, 2]}


def test_a_normalizer_may_be_an_object():
    class Recorder:
        """Counts what it is asked for."""

        def __init__(self) -> None:
            self.layers, self.positions = 0, []

        def layer(self, layer: nn.Module) -> nn.Module:
            self.layers += 1
            return layer

        def features(self, channels: int, *, spatial: bool = True) -> nn.Module:
            self.positions.append((channels, spatial))
            return nn.Identity()

    recorder = Recorder()
    pair("infogan", recorder, width=1.0)
    assert recorder.layers == 4
    assert recorder.positions == [(128, True), (1024, False)]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_unpool_keeps_the_memory_format(layout):
    x = torch.randn(2, 3, 4, 4).to(memory_format=layout)
    doubled = unpool(x)
    assert doubled.is_contiguous(memory_format=layout)
    expected = torch.zeros(2, 3, 8, 8)
    expected[:, :, ::2, ::2] = x
    torch.testing.assert_close(doubled, expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_channels_last_gives_the_same_images_and_logits(name):
    g, d = (network.eval() for network in pair(name))
    z = torch.randn(3, 16)
    images = g(z)
    logits = d(images)
    for network in (g, d):
        network.to(memory_format=torch.channels_last)
    torch.testing.assert_close(g(z), images)
    torch.testing.assert_close(d(images.to(memory_format=torch.channels_last)), logits)


@pytest.mark.parametrize("name", sorted(SHAPES))
@pytest.mark.parametrize("width", [0.0, -1.0, math.nan, math.inf])
def test_a_width_that_cannot_be_is_refused_in_one_line(name, width):
    with pytest.raises(ConfigError, match="width") as caught:
        ARCHITECTURES.build(name, image_shape=SHAPES[name], width=width)
    assert "\n" not in str(caught.value)
