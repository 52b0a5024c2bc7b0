"""Looks at a job's pictures before ComfyUI decodes them: are they any, are they whole, and how large would they become.

Only headers are read, with Pillow, since ComfyUI opens pictures with it too: what it does not know, LoadImage does not.
A picture of a few kilobytes can decode to gigabytes, and LoadImage turns every frame into 12 bytes a pixel.
"""

import mmap
from pathlib import Path

from PIL import Image

from comfyport.jobs import kinds, structure
from comfyport.jobs.structure import Malformed

# Formats that show themselves by their first bytes and are opened without another program (EPS runs Ghostscript).
FORMATS = (
    "AVIF", "BMP", "DDS", "GIF", "ICO", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "PSD", "QOI", "TIFF", "WEBP",
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
            kind, pixels = _measured(path, data, most_pixels)
            if must_be:
                structure.check_whole(kind, data)
        except (Malformed, Image.UnidentifiedImageError) as error:
            if must_be:
                raise PictureRefused(_reason(error, data)) from None
            return
    if pixels > most_pixels:
        raise PictureRefused(f"it has more than the {most_pixels / 1e6:g} megapixels that INPUT_MEGAPIXELS allows")


def _measured(path: Path, data: mmap.mmap, most: int) -> tuple[str, int]:
    """The format as Pillow names it, and the pixels of all frames; counting ends where there are more than `most`."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            return image.format or "", _pixels(image, data, most)
    except (Malformed, Image.UnidentifiedImageError):
        raise
    except Image.DecompressionBombError:
        return "", most + 1
    except Exception as error:  # noqa: BLE001 - a parser of a format raises what it likes over bytes that lie
        raise Malformed(f"it is damaged ({type(error).__name__})") from None


def _pixels(image: Image.Image, data: mmap.mmap, most: int) -> int:
    width, height = image.size
    if image.format == "MPO":
        # The pictures after the first are for 3D screens; LoadImage leaves them out.
        return width * height
    if image.format == "TIFF":
        return _pixels_of_pages(image, most)
    if image.format != "GIF":
        return max(width * height, LEAST_PIXELS_A_FRAME) * getattr(image, "n_frames", 1)
    # Pillow would go through all of a GIF to count its frames, and enlarges the canvas for one that juts out.
    total = 0
    for right, bottom in structure.gif_frames(data):
        width, height = max(width, right), max(height, bottom)
        total += max(width * height, LEAST_PIXELS_A_FRAME)
        if total > most:
            break
    return total


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


def _reason(error: Exception, data: mmap.mmap) -> str:
    if isinstance(error, Malformed):
        return str(error)
    return f"it is {kinds.kind(data[: kinds.LOOKED_AT])}, not a picture that ComfyUI can open; other files go to 'files'"
