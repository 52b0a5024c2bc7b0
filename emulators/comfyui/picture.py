"""Pictures as ComfyUI passes them between nodes: batches of RGB with 32-bit floats from 0 to 1.

Pillow's mode F is the same 32-bit float that torch uses, so that what is saved is equal to the last bit.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageMath

Frame = tuple[Image.Image, Image.Image, Image.Image]


def compute(formula: Callable[[dict[str, Any]], Any], **bands: Image.Image) -> Image.Image:
    """Applies `formula` to each pixel of the bands, all of one size, and gives a band of floats."""
    result: Image.Image = ImageMath.lambda_eval(formula, **bands)
    return result


def band_from_bytes(band: Image.Image) -> Image.Image:
    """0-255 -> 0-1."""
    return compute(lambda pixel: pixel["band"] / 255.0, band=band.convert("F"))


def band_to_bytes(band: Image.Image) -> Image.Image:
    """0-1 -> 0-255, cut off at both ends and below the point, as ComfyUI saves it."""
    return compute(lambda pixel: pixel["band"] * 255.0, band=band).convert("L")


@dataclass(frozen=True)
class Picture:
    """A batch of frames of one size."""

    frames: tuple[Frame, ...]

    @classmethod
    def from_images(cls, images: Iterable[Image.Image]) -> "Picture":
        """From Pillow images of one size; their alpha is left out."""
        return cls(tuple(_frame(band_from_bytes(band) for band in image.convert("RGB").split()) for image in images))

    def images(self) -> list[Image.Image]:
        """As Pillow images in RGB."""
        return [Image.merge("RGB", [band_to_bytes(band) for band in frame]) for frame in self.frames]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.frames[0][0].size

    def each_band(self, change: Callable[[Image.Image], Image.Image]) -> "Picture":
        """A picture whose every band went through `change`."""
        return Picture(tuple(_frame(change(band) for band in frame) for frame in self.frames))

    def __str__(self) -> str:
        width, height = self.size
        return f"tensor(batch={len(self.frames)}, height={height}, width={width}, channels=3)"


def _frame(bands: Iterable[Image.Image]) -> Frame:
    red, green, blue = bands
    return red, green, blue
