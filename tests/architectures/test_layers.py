"""SAME padding against direct sums over TensorFlow's definition, in float64."""

from __future__ import annotations

import math

import pytest
import torch

from gan_bench.architectures.layers import SameConv2d, SameConvTranspose2d, conv, linear, up
from gan_bench.architectures.resnet import DownBlock, unpool
from gan_bench.registry import NORMALIZERS


def direct(x: torch.Tensor, weight: torch.Tensor, stride: int) -> torch.Tensor:
    """A SAME convolution as TensorFlow defines it, pixel by pixel."""
    side, kernel = x.shape[-1], weight.shape[-1]
    out = math.ceil(side / stride)
    before = max((out - 1) * stride + kernel - side, 0) // 2
    y = torch.zeros(len(x), len(weight), out, out, dtype=x.dtype)
    for i in range(out):
        for j in range(out):
            for a in range(kernel):
                for b in range(kernel):
                    r, c = i * stride + a - before, j * stride + b - before
                    if 0 <= r < side and 0 <= c < side:
                        y[:, :, i, j] += x[:, :, r, c] @ weight[:, :, a, b].T
    return y


CASES = [(5, 2, 8), (5, 2, 7), (5, 2, 1), (4, 2, 8), (4, 2, 6), (3, 1, 5), (3, 2, 6), (4, 2, 7)]


@pytest.mark.parametrize(("kernel", "stride", "side"), CASES)
def test_convolution(kernel, stride, side):
    torch.manual_seed(0)
    layer = SameConv2d(3, 2, kernel, stride, bias=False, dtype=torch.float64)
    x = torch.randn(2, 3, side, side, dtype=torch.float64)
    torch.testing.assert_close(layer(x), direct(x, layer.weight.detach(), stride))


@pytest.mark.parametrize(("kernel", "stride", "side"), CASES)
def test_transposed_convolution_is_the_adjoint(kernel, stride, side):
    """<conv(x), y> = <x, conv^T(y)> for all x, y, with the same kernel."""
    torch.manual_seed(0)
    layer = SameConvTranspose2d(2, 3, kernel, stride, side).double()
    torch.nn.init.zeros_(layer.bias)
    x = torch.randn(2, 3, side, side, dtype=torch.float64)
    small = math.ceil(side / stride)
    y = torch.randn(2, 2, small, small, dtype=torch.float64)
    transposed = layer(y)
    assert transposed.shape == x.shape
    forward = direct(x, layer.weight.detach(), stride)
    torch.testing.assert_close((forward * y).sum(), (x * transposed).sum())


def test_initial_values():
    torch.manual_seed(0)
    for layer in (conv(64, 64, 3), linear(200, 200), up(64, 64, 4, 8)):
        assert layer.weight.mean().item() == pytest.approx(0, abs=1e-3)
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.03)
        assert (layer.bias == 0).all()


def test_unpool_puts_the_value_top_left_and_three_zeros():
    x = torch.arange(1.0, 5.0).view(1, 1, 2, 2)
    expected = [[1, 0, 2, 0], [0, 0, 0, 0], [3, 0, 4, 0], [0, 0, 0, 0]]
    assert unpool(x)[0, 0].tolist() == expected


def test_down_block_is_the_pooled_main_path_plus_the_pooled_shortcut():
    torch.manual_seed(0)
    block = DownBlock(2, 4, NORMALIZERS.build("none"), downsample=True)
    x = torch.randn(1, 2, 6, 6)
    pool = torch.nn.AvgPool2d(2)
    main = pool(block.conv2(block.conv1(x.relu()).relu()))
    torch.testing.assert_close(block(x), main + pool(block.shortcut(x)))
