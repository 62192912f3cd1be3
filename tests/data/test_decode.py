"""What becomes of an encoded image: depth, transparency, channels, crop and size."""

import io

import numpy as np
import PIL.Image
import pytest

from gan_bench.data.decode import Preprocessing, decode
from gan_bench.errors import DataError


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def encoded(image: PIL.Image.Image, kind: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def one(data: bytes, name: str = "a.png", **options) -> np.ndarray:
    """Return the pixels, uint8 (C, H, W)."""
    pixels = decode(data, name, Preprocessing(**options))
    assert pixels.dtype == np.uint8
    return pixels


def hwc(pixels: np.ndarray) -> np.ndarray:
    return pixels.transpose(1, 2, 0)


# Depth, transparency, channels


def test_colour_is_kept_and_grey_is_replicated():
    pixels = noise(6, 6, 3)
    assert np.array_equal(hwc(one(encoded(PIL.Image.fromarray(pixels)))), pixels)
    grey = noise(6, 6)
    result = one(encoded(PIL.Image.fromarray(grey)))
    assert result.shape == (3, 6, 6)
    assert all(np.array_equal(plane, grey) for plane in result)


def test_one_channel_is_luma():
    pixels = noise(6, 6, 3)
    result = one(encoded(PIL.Image.fromarray(pixels)), channels=1)
    luma = pixels @ np.array([0.299, 0.587, 0.114])
    assert result.shape == (1, 6, 6)
    assert np.abs(result[0] - luma).max() <= 1


def test_alpha_is_laid_over_white():
    pixels = noise(4, 4, 4)
    pixels[..., 3] = np.array([0, 255, 0, 255])
    result = hwc(one(encoded(PIL.Image.fromarray(pixels, "RGBA"))))
    assert (result[:, ::2] == 255).all()
    assert np.array_equal(result[:, 1::2], pixels[:, 1::2, :3])
    grey = np.stack([noise(4, 4), np.full((4, 4), 0, np.uint8)], -1)
    assert (one(encoded(PIL.Image.fromarray(grey, "LA")), channels=1) == 255).all()


def test_palettes():
    image = PIL.Image.new("P", (2, 2), 1)
    image.putpalette([9, 9, 9, 10, 20, 30])
    image.putpixel((0, 0), 0)
    assert one(encoded(image))[:, 1, 1].tolist() == [10, 20, 30]
    transparent = one(encoded(image, transparency=0))
    assert transparent[:, 0, 0].tolist() == [255, 255, 255]
    assert transparent[:, 1, 1].tolist() == [10, 20, 30]
    assert one(encoded(image, "GIF"), "a.gif")[:, 1, 1].tolist() == [10, 20, 30]


def test_sixteen_bit_grey_is_scaled():
    values = np.array([[0, 128], [32768, 65535]], dtype=np.uint16)
    for kind, name in (("PNG", "a.png"), ("TIFF", "a.tif")):
        result = one(encoded(PIL.Image.fromarray(values), kind), name, channels=1)
        assert result[0].tolist() == [[0, 0], [128, 255]]


def test_other_modes():
    bits = PIL.Image.fromarray(noise(4, 4) > 127)
    assert set(np.unique(one(encoded(bits))).tolist()) == {0, 255}
    cmyk = PIL.Image.new("CMYK", (16, 16), (0, 0, 0, 0))
    assert (one(encoded(cmyk, "JPEG"), "a.jpg") >= 254).all()
    for values in (np.float32([[0.5]]), np.int32([[1 << 20]])):
        data = encoded(PIL.Image.fromarray(values), "TIFF")
        with pytest.raises(DataError, match="no known range"):
            one(data, "a.tif")


def test_orientation_is_followed():
    pixels = noise(4, 4, 3)
    exif = PIL.Image.Exif()
    exif[0x0112] = 3  # upside down
    result = one(encoded(PIL.Image.fromarray(pixels), exif=exif))
    assert np.array_equal(hwc(result), pixels[::-1, ::-1])


# Crop and size


def test_crops():
    pixels = noise(10, 7, 3)  # H, W
    data = encoded(PIL.Image.fromarray(pixels))
    assert np.array_equal(hwc(one(data)), pixels[1:8])
    assert np.array_equal(hwc(one(data, crop_size=4)), pixels[3:7, 1:5])
    assert np.array_equal(hwc(one(data, crop="none")), pixels)
    padded = hwc(one(data, crop="center_pad", crop_size=8))
    assert np.array_equal(padded[:, :7], pixels[1:9])
    assert (padded[:, 7] == 0).all()
    with pytest.raises(DataError, match=r"a\.png is 7x10 pixels, too small for a crop of 8"):
        one(data, crop_size=8)


@pytest.mark.parametrize("name", ["lanczos", "bicubic", "bilinear", "box"])
def test_resize_is_pils(name):
    image = PIL.Image.fromarray(noise(32, 32, 3))
    expected = np.asarray(image.resize((8, 8), PIL.Image.Resampling[name.upper()]))
    result = one(encoded(image), image_size=8, resize=name)
    assert np.array_equal(hwc(result), expected)


def test_resize_refusals():
    tall = encoded(PIL.Image.fromarray(noise(10, 7, 3)))
    with pytest.raises(DataError, match=r"a\.png is 7x10 pixels where 8x8 .* distort"):
        one(tall, crop="none", image_size=8)
    with pytest.raises(DataError, match=r"a\.png is 7x7 pixels where 8x8 .* resize=none"):
        one(tall, image_size=8, resize="none")
