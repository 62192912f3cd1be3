"""The published networks: parameters by arithmetic from the specification, shapes and ranges."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from gan_bench.errors import ConfigError
from gan_bench.registry import ARCHITECTURES

Z = 128


def dense(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def kernel(k: int, inputs: int, outputs: int) -> int:
    return k * k * inputs * outputs + outputs


def bn(channels: int) -> int:
    return 2 * channels


def block(inputs: int, outputs: int, *, norms: bool) -> int:
    """Two 3 x 3 convolutions and a 3 x 3 shortcut; two norms in G."""
    total = kernel(3, inputs, outputs) * 2 + kernel(3, outputs, outputs)
    return total + (bn(inputs) + bn(outputs) if norms else 0)


def pairs(channels: list[int]) -> list[tuple[int, int]]:
    return list(zip(channels, channels[1:], strict=False))


def resnet(start: int, up: list[int], down: list[int], c: int) -> tuple[int, int]:
    g = dense(Z, up[0] * start * start) + sum(block(i, o, norms=True) for i, o in pairs(up))
    g += bn(up[-1]) + kernel(3, up[-1], c)
    d = sum(block(i, o, norms=False) for i, o in pairs([c, *down])) + dense(down[-1], 1)
    return g, d


def dcgan(side: int, c: int) -> tuple[int, int]:
    flat = (side // 16) ** 2 * 512
    g = dense(Z, flat) + bn(512)
    g += sum(kernel(5, i, o) + bn(o) for i, o in pairs([512, 256, 128, 64])) + kernel(5, 64, c)
    d = sum(kernel(5, i, o) for i, o in pairs([c, 64, 128, 256, 512])) + dense(flat, 1)
    return g, d


def sndcgan(side: int, c: int) -> tuple[int, int]:
    flat = (side // 8) ** 2 * 512
    g = dense(Z, flat) + bn(flat)
    g += sum(kernel(4, i, o) + bn(o) for i, o in pairs([512, 256, 128, 64])) + kernel(3, 64, c)
    d = kernel(3, c, 64) + kernel(4, 64, 128) + kernel(3, 128, 128) + kernel(4, 128, 256)
    d += kernel(3, 256, 256) + kernel(4, 256, 512) + kernel(3, 512, 512) + dense(flat, 1)
    return g, d


def infogan(side: int, c: int) -> tuple[int, int]:
    flat = (side // 4) ** 2 * 128
    g = dense(Z, 1024) + bn(1024) + dense(1024, flat) + bn(flat)
    g += kernel(4, 128, 64) + bn(64) + kernel(4, 64, c)
    d = kernel(4, c, 64) + kernel(4, 64, 128) + dense(flat, 1024) + dense(1024, 1)
    return g, d


PUBLISHED = {
    ("dcgan", 64, 3): dcgan(64, 3),
    ("dcgan", 32, 3): dcgan(32, 3),
    ("sndcgan", 32, 3): sndcgan(32, 3),
    ("sndcgan", 128, 3): sndcgan(128, 3),
    ("infogan", 28, 1): infogan(28, 1),
    ("resnet_cifar", 32, 3): resnet(4, [256] * 4, [128] * 4, 3),
    ("resnet_stl", 48, 3): resnet(6, [512, 256, 128, 64], [64, 128, 256, 512, 1024], 3),
    ("resnet19", 128, 3): resnet(
        4, [512, 512, 256, 256, 128, 64], [64, 128, 256, 256, 512, 512], 3
    ),
    ("mlp", 8, 1): (
        dense(Z, 256) + dense(256, 256) + dense(256, 64),
        dense(64, 256) + dense(256, 256) + dense(256, 1),
    ),
}


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(("key", "expected"), PUBLISHED.items(), ids=lambda v: str(v))
def test_parameters_of_the_published_networks(key, expected):
    name, side, c = key
    networks = ARCHITECTURES.build(name, image_shape=(c, side, side), latent_dim=Z)
    assert tuple(map(count, networks)) == expected


def test_every_architecture_has_its_parameters_counted():
    assert set(ARCHITECTURES.names()) == {name for name, _, _ in PUBLISHED}


def test_two_counts_by_hand():
    """The arithmetic itself, once more, in numbers."""
    # 75 * 64 + 64, 1600 * 128 + 128, 3200 * 256 + 256, 6400 * 512 + 512, 8192 + 1
    assert PUBLISHED["dcgan", 64, 3][1] == 4_864 + 204_928 + 819_456 + 3_277_312 + 8_193
    assert PUBLISHED["mlp", 8, 1] == (115_264, 82_689)


SERVED = {
    "mlp": (8, 16, 28, 32, 48, 64, 128),
    "dcgan": (8, 16, 28, 32, 48, 64, 128),
    "sndcgan": (8, 16, 32, 48, 64, 128),
    "infogan": (8, 16, 28, 32, 48, 64, 128),
    "resnet_cifar": (8, 16, 32, 48, 64, 128),
    "resnet_stl": (16, 32, 48, 64, 128),
    "resnet19": (8, 16, 32, 64, 128),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("name", "side"), [(name, side) for name, sides in SERVED.items() for side in sides]
)
def test_shapes_and_ranges_for_every_size_served(name, side, channels):
    torch.manual_seed(0)
    g, d = ARCHITECTURES.build(name, image_shape=(channels, side, side), latent_dim=5, width=1 / 32)
    images = g(torch.randn(3, 5) * 50)
    assert images.shape == (3, channels, side, side)
    assert images.min() >= -1 and images.max() <= 1
    assert d(images).shape == (3,)
    assert d(images[:1]).shape == (1,), "a batch of one keeps its dimension"


@pytest.mark.parametrize("name", ARCHITECTURES.names())
def test_networks_can_be_copied_and_saved(name):
    side = 48 if name == "resnet_stl" else 32
    networks = ARCHITECTURES.build(
        name, image_shape=(3, side, side), latent_dim=5, normalizer="spectral_norm", width=1 / 32
    )
    for network in networks:
        twin = copy.deepcopy(network)
        twin.load_state_dict(network.state_dict())
        assert count(twin) == count(network)


def test_resnet19_scales_down_as_stated():
    """For 32 x 32, G upsamples three times from 4 x 4 and D ends at 1 x 1; six halvings at 128."""
    g, d = ARCHITECTURES.build("resnet19", image_shape=(3, 32, 32), width=1 / 32)
    assert [b.upsample for b in g.modules() if hasattr(b, "upsample")] == [True] * 3 + [False] * 2
    downs = [b.downsample for b in d.modules() if hasattr(b, "downsample")]
    assert downs == [True] * 5 + [False]
    _, d = ARCHITECTURES.build("resnet19", image_shape=(3, 128, 128), width=1 / 32)
    assert all(b.downsample for b in d.modules() if hasattr(b, "downsample"))


def test_mlp_serves_vectors_without_a_bound():
    g, d = ARCHITECTURES.build("mlp", image_shape=(2,), latent_dim=4)
    points = g(torch.randn(64, 4) * 100)
    assert points.shape == (64, 2) and points.abs().max() > 1
    assert d(points).shape == (64,)


def test_batch_norm_of_generators_keeps_the_published_share():
    """Share of the old running average, and epsilon."""
    published = {
        "dcgan": (0.9, 1e-5), "resnet19": (0.9, 1e-5), "resnet_cifar": (0.9, 1e-5),
        "resnet_stl": (0.9, 1e-5), "sndcgan": (0.9, 2e-5), "infogan": (0.999, 1e-3),
    }  # fmt: skip
    for name, (kept, eps) in published.items():
        side = 48 if name == "resnet_stl" else 32
        g, _ = ARCHITECTURES.build(name, image_shape=(3, side, side), width=1 / 32)
        norms = [m for m in g.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))]
        assert norms and all(m.momentum == pytest.approx(1 - kept) for m in norms)
        assert all(m.eps == eps for m in norms)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("sndcgan", {"image_shape": (1, 28, 28)}, "multiple of 8"),
        ("dcgan", {"image_shape": (3, 4, 4)}, "8 or more"),
        ("dcgan", {"image_shape": (2, 32, 32)}, "1 or 3 channels"),
        ("dcgan", {"image_shape": (3, 32, 48)}, "square"),
        ("resnet19", {"image_shape": (3, 48, 48)}, "8, 16, 32, 64 or 128"),
        ("mlp", {"image_shape": (3, 4)}, "vectors"),
        ("mlp", {"image_shape": (3,), "hidden": 0}, "hidden"),
        ("dcgan", {"image_shape": (3, 32, 32), "width": 0.0}, "width"),
        ("dcgan", {"image_shape": (3, 32, 32), "num_classes": 10}, "not conditional"),
        ("dcgan", {"image_shape": (3, 32, 32), "latent_dim": 0}, "latent_dim"),
        ("dcgan", {"image_shape": (3, 32, 32), "normalizer": "spectralnorm"}, "spectral_norm"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(name, options, words):
    with pytest.raises(ConfigError, match=words):
        ARCHITECTURES.build(name, **options)
