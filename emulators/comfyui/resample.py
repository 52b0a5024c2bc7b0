"""Resizing with the methods of ImageScale.

They are torch's `interpolate` (nearest-exact, bilinear, bicubic, area) and Pillow's Lanczos. torch samples
without anti-aliasing, which Pillow's own `resize` does not offer; so each result row and column is a
weighted sum of a few source rows and columns (`Taps`). nearest-exact and lanczos equal ComfyUI's to the
pixel, the others differ from it by one level of 255 at most, where the last bit decides.
"""

import math
import struct
from collections.abc import Callable

from PIL import Image

from emulators.comfyui.picture import Picture, compute

METHODS = ("nearest-exact", "bilinear", "area", "bicubic", "lanczos")
BICUBIC_A = -0.75
"""torch's cubic convolution coefficient."""

Taps = list[list[tuple[int, float]]]
"""For each result column: (source column, weight)."""


def resize(picture: Picture, width: int, height: int, method: str) -> Picture:
    """Stretches every frame to `width` x `height` pixels."""
    if method == "lanczos":
        return Picture.from_images(
            image.resize((width, height), Image.Resampling.LANCZOS) for image in picture.images()
        )
    taps = TAPS[method]
    across, down = taps(picture.size[0], width), taps(picture.size[1], height)
    return picture.each_band(lambda band: _turned(_widen(_turned(_widen(band, across)), down)))


def crop_to_aspect(picture: Picture, width: int, height: int) -> Picture:
    """Cuts the middle out so that it has the aspect of `width` x `height`, rounded as ComfyUI does."""
    old_width, old_height = picture.size
    old, new = old_width / old_height, width / height
    x = round((old_width - old_width * (new / old)) / 2) if old > new else 0
    y = round((old_height - old_height * (old / new)) / 2) if old < new else 0
    return picture.each_band(lambda band: band.crop((x, y, old_width - x, old_height - y)))


def _nearest(source: int, target: int) -> Taps:
    step = _float32(source / target)
    return [[(min(int(_float32((column + 0.5) * step)), source - 1), 1.0)] for column in range(target)]


def _float32(number: float) -> float:
    """Rounded as torch rounds: it decides which pixel is nearest where two are equally near."""
    rounded: float = struct.unpack("f", struct.pack("f", number))[0]
    return rounded


def _bilinear(source: int, target: int) -> Taps:
    taps: Taps = []
    for column in range(target):
        place = max((column + 0.5) * source / target - 0.5, 0.0)
        left = int(place)
        taps.append([(left, 1 - (place - left)), (min(left + 1, source - 1), place - left)])
    return taps


def _bicubic(source: int, target: int) -> Taps:
    taps: Taps = []
    for column in range(target):
        place = (column + 0.5) * source / target - 0.5
        left = math.floor(place)
        taps.append(
            [(min(max(left + step, 0), source - 1), _cubic(abs(place - left - step))) for step in (-1, 0, 1, 2)]
        )
    return taps


def _cubic(distance: float) -> float:
    if distance <= 1:
        return ((BICUBIC_A + 2) * distance - (BICUBIC_A + 3)) * distance**2 + 1
    return ((distance - 5) * distance + 8) * distance * BICUBIC_A - 4 * BICUBIC_A


def _area(source: int, target: int) -> Taps:
    taps: Taps = []
    for column in range(target):
        first, last = column * source // target, -(-(column + 1) * source // target)
        taps.append([(place, 1 / (last - first)) for place in range(first, last)])
    return taps


TAPS: dict[str, Callable[[int, int], Taps]] = {
    "nearest-exact": _nearest,
    "bilinear": _bilinear,
    "bicubic": _bicubic,
    "area": _area,
}


def _widen(band: Image.Image, taps: Taps) -> Image.Image:
    """Gives the band as many columns as there are taps."""
    height, longest = band.height, max(map(len, taps))
    total = Image.new("F", (len(taps), height))
    for number in range(longest):
        gathered = Image.new("F", total.size)
        weights = Image.new("F", (len(taps), 1))
        for column, column_taps in enumerate(taps):
            if number < len(column_taps):
                place, weight = column_taps[number]
                gathered.paste(band.crop((place, 0, place + 1, height)), (column, 0))
                weights.putpixel((column, 0), weight)
        spread = weights.resize(total.size, Image.Resampling.NEAREST)
        total = compute(lambda p: p["total"] + p["one"] * p["weight"], total=total, one=gathered, weight=spread)
    return total


def _turned(band: Image.Image) -> Image.Image:
    return band.transpose(Image.Transpose.TRANSPOSE)
