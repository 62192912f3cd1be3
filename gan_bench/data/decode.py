"""From an encoded image to pixels: one policy for depth, transparency, channels, crop and size.

In this order:

1. The first frame is taken, and turned as its EXIF orientation says.
2. Depth: 16-bit grey is scaled to 8 bits (round(v * 255 / 65535)); of 16-bit colour PIL keeps
   the high byte; 32-bit integer and floating-point images are refused as unreadable.
3. Transparency (an alpha channel, or a transparent palette entry or colour) is laid over white.
4. Channels: 3 replicates grey; 1 is ITU-R 601 luma; palettes, CMYK and the like become RGB first.
5. Crop: "none"; "center", the centred square of side `crop_size`, or the largest one when it is
   0; "center_pad", the same, where what the image lacks is filled with black.
6. Size: `image_size` > 0 resizes the square to it by PIL's antialiased filter `resize`;
   "none" refuses other sizes. `image_size` 0 leaves the size alone.
"""

from __future__ import annotations

import dataclasses
import io
from typing import TYPE_CHECKING

import numpy as np

from gan_bench.errors import DataError, require, unknown

if TYPE_CHECKING:
    from PIL.Image import Image

CROPS = ("none", "center", "center_pad")
FILTERS = ("none", "lanczos", "bicubic", "bilinear", "box")
# Only these of PIL's decoders are tried: some of the others run external programs.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
MAX_PIXELS = 100_000_000
_ORIENTATION = 0x0112


class UnreadableError(DataError):
    """A file that is missing, corrupt or no image: what `unreadable=skip` passes over."""


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """What is done with each image; see the module's documentation."""

    channels: int = 3
    crop: str = "center"
    crop_size: int = 0
    image_size: int = 0
    resize: str = "lanczos"

    def __post_init__(self) -> None:
        """Check the options (ConfigError)."""
        require(self.channels in (1, 3), f"channels must be 1 or 3, got {self.channels}")
        if self.crop not in CROPS:
            raise unknown("crop", self.crop, CROPS)
        if self.resize not in FILTERS:
            raise unknown("resize filter", self.resize, FILTERS)
        require(self.crop_size >= 0, f"crop_size can't be negative, got {self.crop_size}")
        require(self.image_size >= 0, f"image_size can't be negative, got {self.image_size}")
        require(
            self.crop != "none" or self.crop_size == 0,
            f"crop_size={self.crop_size} does nothing with crop=none; set crop=center",
        )
        require(
            self.crop != "center_pad" or self.crop_size > 0,
            "crop=center_pad needs crop_size, the side to crop or pad to",
        )

    def shape(self) -> tuple[int, int, int] | None:
        """Return the (C, H, W) that the options alone determine, or None."""
        side = self.image_size or self.crop_size
        return (self.channels, side, side) if side else None


def decode(data: bytes, name: str, preprocessing: Preprocessing) -> np.ndarray:
    """Decode an image and bring it into shape.

    Args:
        data: The encoded image.
        name: What to call it in an error.
        preprocessing: The policy.

    Returns:
        uint8 (C, H, W).

    Raises:
        UnreadableError: It can't be decoded.
        DataError: It is too small for the crop, or the policy doesn't allow its size.
    """
    image = _open(data, name)
    try:
        image = _orient(image)
        image = _to_channels(_to_eight_bits(image), preprocessing.channels)
    except UnreadableError as error:
        raise UnreadableError(f"{name} is unreadable: {error}") from None
    except (ValueError, OSError) as error:  # rare colour spaces that PIL can't convert
        raise UnreadableError(f"{name} is unreadable: mode {image.mode}: {error}") from None
    image = _resize(_crop(image, name, preprocessing), name, preprocessing)
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _open(data: bytes, name: str) -> Image:
    import PIL.Image

    try:
        image = PIL.Image.open(io.BytesIO(data), formats=FORMATS)
        if image.width * image.height <= MAX_PIXELS:
            image.load()
            return image
    except MemoryError:
        raise
    except Exception as error:  # PIL's decoders raise whatever the bytes make them stumble over
        reason = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, PIL.UnidentifiedImageError):
            reason = "empty file" if not data else "no image of a known kind"
        raise UnreadableError(f"{name} is unreadable: {reason}") from None
    raise UnreadableError(
        f"{name} is unreadable: {image.width}x{image.height} is more than {MAX_PIXELS} pixels"
    )


def _orient(image: Image) -> Image:
    from PIL import ImageOps

    try:
        turned = image.getexif().get(_ORIENTATION, 1) not in (0, 1)
    except Exception:  # broken metadata around sound pixels: there is no orientation to follow
        return image
    return ImageOps.exif_transpose(image) if turned else image


def _to_eight_bits(image: Image) -> Image:
    import PIL.Image

    if image.mode == "F":
        raise UnreadableError("floating-point pixels have no known range")
    if image.mode != "I" and not image.mode.startswith("I;16"):
        return image
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise UnreadableError("32-bit pixels have no known range")
    return PIL.Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))


def _to_channels(image: Image, channels: int) -> Image:
    import PIL.Image

    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        if image.mode in ("RGBa", "La"):  # premultiplied: PIL converts these only to their twins
            image = image.convert("RGBA" if image.mode == "RGBa" else "LA")
        image = image.convert("RGBA")
        white = PIL.Image.new("RGBA", image.size, "white")
        image = PIL.Image.alpha_composite(white, image)
    elif image.mode not in ("L", "RGB", "1"):
        image = image.convert("RGB")
    wanted = "L" if channels == 1 else "RGB"
    return image if image.mode == wanted else image.convert(wanted)


def _crop(image: Image, name: str, preprocessing: Preprocessing) -> Image:
    """Cut out the centred square; of an odd margin, the greater half is at the right and bottom."""
    if preprocessing.crop == "none":
        return image
    side = preprocessing.crop_size or min(image.size)
    if preprocessing.crop == "center" and side > min(image.size):
        raise DataError(
            f"{name} is {image.width}x{image.height} pixels, too small for a crop of {side}; "
            "choose a smaller crop_size or crop=center_pad"
        )
    left, top = (int((length - side) / 2) for length in image.size)  # towards 0, as TensorFlow does
    if (left, top) == (0, 0) and image.size == (side, side):
        return image
    return image.crop((left, top, left + side, top + side))  # PIL fills what lies outside: black


def _resize(image: Image, name: str, preprocessing: Preprocessing) -> Image:
    import PIL.Image

    side = preprocessing.image_size
    if not side or image.size == (side, side):
        return image
    size = f"{name} is {image.width}x{image.height} pixels where {side}x{side} is wanted"
    if preprocessing.resize == "none":
        raise DataError(f"{size}, and resize=none; choose a filter or crop_size={side}")
    if image.width != image.height:
        raise DataError(f"{size}; set crop=center, as resizing would distort it")
    return image.resize((side, side), PIL.Image.Resampling[preprocessing.resize.upper()])
