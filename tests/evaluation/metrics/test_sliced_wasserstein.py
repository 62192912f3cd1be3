"""SWD against scipy's convolutions and 1-D distances, and on images with known damage."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve
from scipy.stats import wasserstein_distance

from gan_bench.errors import DataError
from gan_bench.evaluation.metrics import sliced_wasserstein as module
from gan_bench.evaluation.metrics.sliced_wasserstein import (
    SlicedWasserstein,
    laplacian,
    levels,
    sliced_distance,
)
from gan_bench.evaluation.statistics import FeatureStatistics


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def photographs(count: int, seed: int, side: int = 32, channels: int = 3) -> torch.Tensor:
    """Smooth random fields: noise blurred at two scales."""
    noise = rng(seed).normal(size=(count, channels, side, side))
    coarse = convolve(noise, np.ones((1, 1, 9, 9)) / 9, mode="wrap")
    fine = convolve(noise, np.ones((1, 1, 3, 3)) / 3, mode="wrap")
    return torch.from_numpy((128 + 30 * coarse + 10 * fine).clip(0, 255).astype(np.uint8))


def measured(real: torch.Tensor, fake: torch.Tensor, **options: int) -> dict[str, float]:
    sides = (FeatureStatistics(n=len(each), images=each) for each in (real, fake))
    return SlicedWasserstein(**options)(*sides, rng(7))


def reference_pyramid(image: np.ndarray, level: int) -> np.ndarray:
    """A level of the pyramid of one channel, as progressive_growing_of_gans computes it."""
    weights = np.array([1, 4, 6, 4, 1]) / 16
    kernel = np.outer(weights, weights)

    def down(x: np.ndarray) -> np.ndarray:
        return convolve(x, kernel, mode="mirror")[::2, ::2]

    def up(x: np.ndarray) -> np.ndarray:
        wide = np.zeros((2 * x.shape[0], 2 * x.shape[1]))
        wide[::2, ::2] = x
        return convolve(wide, 4 * kernel, mode="mirror")

    gaussians = [image.astype(np.float64)]
    while gaussians[-1].shape[0] // 2 >= 16:
        gaussians.append(down(gaussians[-1]))
    if level == len(gaussians) - 1:
        return gaussians[level]
    return gaussians[level] - up(gaussians[level + 1])


@pytest.mark.parametrize("level", [0, 1, 2])
def test_the_pyramid_is_scipys(level: int) -> None:
    images = rng().integers(0, 256, (2, 3, 64, 64)).astype(np.float32)
    found = laplacian(torch.from_numpy(images), level)
    for n in range(2):
        for c in range(3):
            expected = reference_pyramid(images[n, c], level)
            np.testing.assert_allclose(found[n, c], expected, atol=2e-3)


def test_the_distance_is_scipys_on_each_direction(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = rng().normal(size=(300, 5)), rng(1).normal(size=(300, 5)) * 1.5 + 0.2
    directions = rng(3).standard_normal((5, module.DIRECTIONS))
    directions /= np.linalg.norm(directions, axis=0)
    expected = np.mean([wasserstein_distance(first @ d, second @ d) for d in directions.T])
    found = sliced_distance(first.astype(np.float32), second.astype(np.float32), rng(3))
    assert found == pytest.approx(expected, rel=1e-4)


def test_patches_are_standardized_by_channel_and_side() -> None:
    """Brightness and contrast of the whole set make no difference, as in the paper."""
    images = photographs(60, 0)
    dark = (images.float() * 0.5 + 20).round().to(torch.uint8)
    floor = measured(images, photographs(60, 1))["swd"]
    assert measured(images, dark)["swd"] < 2 * floor
    patches = module._standardized(module._patches(images, 0, rng()))
    by_channel = patches.reshape(len(patches), 3, 49)
    np.testing.assert_allclose(by_channel.mean(axis=(0, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(by_channel.std(axis=(0, 2)), 1, rtol=1e-4)
    assert len(patches) == 60 * 128


def test_levels_have_a_figure_each_and_damage_is_seen_at_its_scale() -> None:
    real, same = photographs(120, 0, side=64), photographs(120, 1, side=64)
    floor = measured(real, same)
    assert set(floor) == {"swd_64", "swd_32", "swd_16", "swd", "swd_protocol"}
    assert floor["swd"] == pytest.approx(np.mean([floor[f"swd_{s}"] for s in (64, 32, 16)]))
    noise = torch.from_numpy(rng(5).normal(size=same.shape)).float()
    noisy = measured(real, (same + 25 * noise).clamp(0, 255).to(torch.uint8))
    assert noisy["swd_64"] > 2 * floor["swd_64"]
    # fine noise is averaged out at the coarsest level
    assert noisy["swd_16"] / floor["swd_16"] < noisy["swd_64"] / floor["swd_64"]


@pytest.mark.parametrize(
    ("sides", "expected"),
    [
        ((128, 128), [128, 64, 32, 16]),
        ((28, 28), [28]),
        ((70, 70), [70, 35]),
        ((48, 32), [32, 16]),
    ],
)
def test_levels_halve_as_far_as_they_do_evenly(sides: tuple[int, int], expected: list[int]) -> None:
    assert levels(*sides) == expected


def test_both_sides_count_equally_and_the_number_is_told() -> None:
    real, fake = photographs(50, 0, channels=1), photographs(30, 1, channels=1)
    assert "30 images a side" in str(measured(real, fake)["swd_protocol"])
    # another metric may have had more images kept
    assert "20 images a side" in str(measured(real, fake, images=20)["swd_protocol"])


def test_images_without_a_level_are_one_line() -> None:
    with pytest.raises(DataError, match="16 pixels or more, not 8 x 8"):
        SlicedWasserstein().check(10, 10, (1, 8, 8))
    tiny = torch.zeros(5, 1, 8, 8, dtype=torch.uint8)
    with pytest.raises(DataError, match="16 pixels"):
        measured(tiny, tiny)
