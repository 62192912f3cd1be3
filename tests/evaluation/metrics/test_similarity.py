"""MS-SSIM against an independent float64 implementation on scipy's convolution."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from pytorch_msssim import ms_ssim
from scipy.signal import convolve2d

from gan_bench.errors import DataError
from gan_bench.evaluation.metrics import ms_ssim as module
from gan_bench.evaluation.metrics.ms_ssim import WEIGHTS, multi_scale_ssim, scale_count
from gan_bench.evaluation.statistics import FeatureStatistics
from gan_bench.registry import METRICS


def pair(shape: tuple[int, ...], seed: int = 0, noise: float = 40.0) -> tuple[np.ndarray, ...]:
    """Two smooth images with noise, so that they are alike but not equal."""
    draws = np.random.default_rng(seed)
    rows, columns = np.mgrid[: shape[-2], : shape[-1]]
    wave = 128 + 90 * np.sin(rows / 9 + columns / 5)
    images = [np.clip(wave + draws.normal(size=shape) * noise, 0, 255) for _ in range(2)]
    return tuple(image.astype(np.uint8) for image in images)


def reference(first: np.ndarray, second: np.ndarray, weights: tuple[float, ...]) -> float:
    """MS-SSIM of one pair (C, H, W), written from Wang et al. 2003 with a 2-D window."""
    per_channel = []
    for a, b in zip(first.astype(np.float64), second.astype(np.float64), strict=True):
        value = 1.0
        for scale, weight in enumerate(weights):
            if scale:
                a, b = halve(a), halve(b)
            size = min(11, *a.shape)
            offsets = np.arange(size) - (size - 1) / 2
            window = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
            window /= window.sum()

            def blur(image: np.ndarray, window: np.ndarray = window) -> np.ndarray:
                return convolve2d(image, window, mode="valid")

            ma, mb = blur(a), blur(b)
            va, vb = blur(a * a) - ma * ma, blur(b * b) - mb * mb
            cov = blur(a * b) - ma * mb
            c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
            contrast = (2 * cov + c2) / (va + vb + c2)
            luminance = (2 * ma * mb + c1) / (ma**2 + mb**2 + c1)
            last = scale == len(weights) - 1
            factor = (luminance * contrast).mean() if last else contrast.mean()
            value *= max(factor, 0.0) ** weight
        per_channel.append(value)
    return float(np.mean(per_channel))


def halve(image: np.ndarray) -> np.ndarray:
    image = np.pad(image, [(0, side % 2) for side in image.shape], mode="symmetric")
    return (image[::2, ::2] + image[1::2, ::2] + image[::2, 1::2] + image[1::2, 1::2]) / 4


@pytest.mark.parametrize(
    "shape", [(3, 176, 180), (3, 128, 128), (3, 64, 64), (3, 32, 32), (1, 28, 28), (1, 16, 23)]
)
def test_equals_the_reference(shape: tuple[int, int, int]) -> None:
    first, second = pair(shape)
    found = multi_scale_ssim(torch.from_numpy(first)[None], torch.from_numpy(second)[None])
    assert found.dtype == torch.float64
    assert float(found) == pytest.approx(reference(first, second, WEIGHTS), rel=1e-6)
    assert 0.05 < float(found) < 0.999


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("channels", [1, 3])
def test_equals_pytorch_msssim_at_256_pixels(channels: int, seed: int) -> None:
    """Smooth images with noise, and noise alone."""
    draws = np.random.default_rng(seed)
    smooth = pair((4, channels, 256, 256), seed, noise=25.0)
    plain = [draws.integers(0, 256, (4, channels, 256, 256)).astype(np.uint8) for _ in range(2)]
    for first, second in (smooth, plain):
        tensors = torch.from_numpy(first).float(), torch.from_numpy(second).float()
        expected = ms_ssim(*tensors, data_range=255, size_average=False)
        found = multi_scale_ssim(*tensors)
        torch.testing.assert_close(found, expected.double(), rtol=0, atol=1e-5)


def test_the_test_case_of_compare_gan() -> None:
    """Three constant 64 x 64 x 3 images of 1, 0.7 and 0, unquantized: 0.98999 by its protocol."""
    images = torch.stack([torch.full((3, 64, 64), value) for value in (1.0, 0.7, 0.0)])
    found = multi_scale_ssim(images[[0, 0, 1]], images[[1, 2, 2]])
    assert float(found.mean()) == pytest.approx(0.98999, abs=1e-5)
    assert metric(images)["ms_ssim"] == pytest.approx(0.98999, abs=1e-5)


def test_flat_areas_keep_four_digits() -> None:
    """The hardest case for float32: black and white halves, which differ by a small patch."""
    first = np.zeros((1, 64, 64), dtype=np.uint8)
    first[:, :32] = 255
    second = first.copy()
    second[:, 20:40, 10:30] = 200
    for one, two in ((first, second), (first, first), (first, 255 - first)):
        found = multi_scale_ssim(torch.from_numpy(one)[None], torch.from_numpy(two)[None])
        assert float(found) == pytest.approx(reference(one, two, WEIGHTS), abs=1e-4)


def test_batches_are_compare_gans(monkeypatch: pytest.MonkeyPatch) -> None:
    """All pairs within each batch: 5 x 64 x 63 / 2, checked on smaller batches by a loop."""
    images = torch.from_numpy(pair((330, 1, 16, 16), noise=80.0)[0])
    found = metric(images[:320], pairing="batches")
    assert "10080 pairs of 320 images in 5 batches" in str(found["ms_ssim_protocol"])
    with pytest.raises(DataError, match="320 images or more, not 319"):
        metric(images[:319], pairing="batches")
    monkeypatch.setattr(module, "BATCHES", 3)
    monkeypatch.setattr(module, "BATCH_IMAGES", 4)
    monkeypatch.setattr(module, "_CHUNK_VALUES", 16 * 16 * 2)
    order = np.arange(12).reshape(3, 4)
    expected = np.mean(
        [
            reference(images[i].numpy(), images[j].numpy(), WEIGHTS)
            for batch in order
            for i, j in itertools.combinations(batch, 2)
        ]
    )
    found = metric(images[:12], pairing="batches")
    assert found["ms_ssim"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("side", "scales"), [(15, 4), (9, 4), (8, 3), (5, 3), (4, 2), (2, 1)])
def test_small_images_use_the_scales_there_are(side: int, scales: int) -> None:
    assert scale_count(side) == scales
    weights = tuple(weight / sum(WEIGHTS[:scales]) for weight in WEIGHTS[:scales])
    first, second = pair((1, side, side))
    found = multi_scale_ssim(torch.from_numpy(first)[None], torch.from_numpy(second)[None])
    assert float(found) == pytest.approx(reference(first, second, weights), rel=1e-6)


def test_identical_images_score_one_and_opposite_ones_zero() -> None:
    first, _ = pair((4, 3, 32, 32))
    images = torch.from_numpy(first)
    torch.testing.assert_close(
        multi_scale_ssim(images, images), torch.ones(4).double(), rtol=1e-6, atol=0
    )
    assert float(multi_scale_ssim(images, 255 - images).max()) == 0.0


def test_is_symmetric_and_batched() -> None:
    first, second = (torch.from_numpy(each) for each in pair((5, 1, 28, 28)))
    together = multi_scale_ssim(first, second)
    torch.testing.assert_close(together, multi_scale_ssim(second, first))
    one = torch.cat(
        [multi_scale_ssim(a[None], b[None]) for a, b in zip(first, second, strict=True)]
    )
    torch.testing.assert_close(together, one)


def metric(images: torch.Tensor, **options: int | str) -> dict[str, object]:
    statistics = FeatureStatistics(n=len(images), images=images)
    return METRICS.build("ms_ssim", **options)(None, statistics, np.random.default_rng(0))


def test_few_images_are_compared_pair_by_pair() -> None:
    images = torch.from_numpy(pair((5, 1, 32, 32))[0])
    expected = np.mean(
        [
            float(multi_scale_ssim(images[i : i + 1], images[j : j + 1]))
            for i, j in itertools.combinations(range(5), 2)
        ]
    )
    found = metric(images)
    assert found["ms_ssim"] == pytest.approx(expected)
    assert "10 pairs of 5 images" in str(found["ms_ssim_protocol"])


def test_random_pairs_estimate_the_mean_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.from_numpy(pair((40, 1, 16, 16), noise=80.0)[0])
    every = metric(images)["ms_ssim"]
    some = metric(images, pairs=700)["ms_ssim"]
    assert some != every
    assert some == pytest.approx(every, abs=0.02)
    monkeypatch.setattr("gan_bench.evaluation.metrics.ms_ssim._CHUNK_VALUES", 16 * 16 * 9)
    assert metric(images, pairs=700)["ms_ssim"] == pytest.approx(some, rel=1e-6)


def test_no_image_is_paired_with_itself() -> None:
    images = torch.arange(3).view(3, 1, 1, 1).mul(100).expand(3, 1, 16, 16).to(torch.uint8)
    highest = max(
        float(multi_scale_ssim(images[i : i + 1], images[j : j + 1]))
        for i, j in itertools.combinations(range(3), 2)
    )
    assert metric(images, pairs=2)["ms_ssim"] <= highest < 0.999


def test_images_kept_for_another_metric_are_left_out() -> None:
    images = torch.from_numpy(pair((400, 1, 16, 16), noise=80.0)[0])
    found = metric(images, pairing="batches")["ms_ssim_protocol"]
    assert "10080 pairs of 320 images in 5 batches" in str(found)
    found = metric(images, pairs=50, max_images=20)["ms_ssim_protocol"]
    assert "50 pairs of 20 images" in str(found)


def test_float32_about_the_mean_is_close_to_float64() -> None:
    """Noise and smooth images by pair; constants, where nothing but rounding could differ."""
    bright = np.full((1, 64, 64), 250, dtype=np.uint8)
    dark = np.full((1, 64, 64), 13, dtype=np.uint8)
    for first, second in (pair((3, 64, 64), noise=5.0), pair((3, 64, 64), 1), (bright, dark)):
        found = multi_scale_ssim(torch.from_numpy(first)[None], torch.from_numpy(second)[None])
        assert float(found) == pytest.approx(reference(first, second, WEIGHTS), abs=1e-6)


def test_low_precision_settings_of_the_caller_change_nothing() -> None:
    images = torch.from_numpy(pair((4, 3, 64, 64))[0])
    expected = metric(images)["ms_ssim"]
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        assert metric(images)["ms_ssim"] == expected
    finally:
        torch.set_float32_matmul_precision(before)


def test_small_images_have_a_key_of_their_own() -> None:
    found = metric(torch.from_numpy(pair((4, 1, 8, 8))[0]))
    assert set(found) == {"ms_ssim_3scale", "ms_ssim_protocol"}


def test_too_small_or_too_few_images_are_an_error_line() -> None:
    with pytest.raises(DataError, match="2 pixels"):
        metric(torch.zeros(4, 1, 1, 1, dtype=torch.uint8))
    with pytest.raises(DataError, match="2 images"):
        metric(torch.zeros(1, 1, 8, 8, dtype=torch.uint8))
