"""Looks at a job's pictures before ComfyUI decodes them: are they any, are they whole, and how large would they become.

Only headers are read, with Pillow, since ComfyUI opens pictures with it too: what it does not know, LoadImage does not.
A picture of a few kilobytes can decode to gigabytes, and LoadImage turns every frame into 12 bytes a pixel.
"""

import logging
import mmap
import struct
from pathlib import Path

from PIL import Image

from comfyport.jobs import kinds, structure
from comfyport.jobs.structure import Malformed, TooManyParts

logger = logging.getLogger(__name__)

# Besides GIF: what shows itself by its first bytes and is opened without another program (EPS runs Ghostscript).
FORMATS = (
    "AVIF", "BMP", "DDS", "ICO", "JPEG", "JPEG2000", "PNG", "PPM", "PSD", "QOI", "TIFF", "WEBP",
)  # fmt: skip
# Frames cost ComfyUI something however small they are.
LEAST_PIXELS_A_FRAME = 4096


class PictureRefused(Exception):
    """A file is no picture that ComfyUI should see; the text says why."""


def check(path: Path, *, most_pixels: int, must_be: bool) -> None:
    """Raises PictureRefused for a picture of more pixels, all frames together.

    Where it `must_be` a picture, what is none, or was cut short, is refused as well.
    """
    if not path.stat().st_size:
        if must_be:
            raise PictureRefused("it is empty")
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            structure.check_whole(data)
        except Malformed as error:
            if must_be or isinstance(error, TooManyParts):
                raise PictureRefused(str(error)) from None
        pixels = _pixels(path, data, most_pixels)
        start = data[: kinds.LOOKED_AT]
        # worker-comfyui has no other place for them than `images`.
        if pixels is None and must_be and not kinds.is_sound_or_video(start):
            what = kinds.kind(start)
            raise PictureRefused(f"it is {what}, not a picture that ComfyUI can open; other files go to 'files'")
    if pixels is not None and pixels > most_pixels:
        raise PictureRefused(f"it has more than the {most_pixels / 1e6:g} megapixels that INPUT_MEGAPIXELS allows")


def _pixels(path: Path, data: mmap.mmap, most: int) -> int | None:
    """The pixels of all frames, counted until there are more than `most`; None if it is no picture."""
    if data[:4] == b"GIF8":
        return _pixels_of_gif(data, most)
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.format == "TIFF":
                return _pixels_of_pages(image, most)
            # The pictures of a MPO after the first are for 3D screens; LoadImage leaves them out.
            frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
            return max(image.width * image.height, LEAST_PIXELS_A_FRAME) * int(frames)
    except Image.DecompressionBombError:
        return most + 1
    except Exception as error:  # noqa: BLE001 - a parser of a format raises what it likes over bytes that lie
        logger.debug("not a picture: %r", error)
        return None


def _pixels_of_gif(data: mmap.mmap, most: int) -> int | None:
    """Pillow would go through all of a GIF to count its frames; it enlarges the canvas for one that juts out."""
    width, height = struct.unpack("<HH", data[6:10].ljust(4, b"\0"))
    total = 0
    for right, bottom in structure.gif_frames(data):
        width, height = max(width, right), max(height, bottom)
        total += max(width * height, LEAST_PIXELS_A_FRAME)
        if total > most:
            break
    return total or None


def _pixels_of_pages(image: Image.Image, most: int) -> int:
    """Each page of a TIFF has a size of its own."""
    total = 0
    try:
        while total <= most:
            total += max(image.width * image.height, LEAST_PIXELS_A_FRAME)
            image.seek(image.tell() + 1)
    except EOFError:
        pass
    return total
