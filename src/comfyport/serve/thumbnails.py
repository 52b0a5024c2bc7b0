"""A small picture of a job's result: what a list of jobs shows."""

import base64
import io
from typing import Any

from PIL import Image

from comfyport.errors import PictureMissing
from comfyport.serve.job import Job

FORMATS = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP", "image/gif": "GIF"}
PIXELS = 320
# A picture of so many takes 200 MB while it is made small.
LARGEST_PIXELS = 50_000_000


def picture_of(answer: dict[str, Any] | None) -> dict[str, Any] | None:
    """The first item of an answer's `images` that is a picture and lies in the answer itself; None if none does."""
    for item in (answer or {}).get("images") or ():
        if item.get("type") == "base64" and item.get("media_type") in FORMATS:
            return dict(item)
    return None


def thumbnail(job: Job) -> bytes:
    """The job's first picture as WebP of at most 320 x 320. Takes tenths of a second. Raises PictureMissing."""
    item = picture_of(job.answer)
    if item is None:
        raise PictureMissing(job.id)
    try:
        return _small(base64.b64decode(item["data"]), FORMATS[item["media_type"]])
    # Pillow raises these for what it cannot read; it was a workflow that wrote it.
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise PictureMissing(job.id) from None


def _small(content: bytes, format_: str) -> bytes:
    with Image.open(io.BytesIO(content), formats=(format_,)) as picture:
        if picture.width * picture.height > LARGEST_PIXELS:
            raise ValueError("too many pixels")
        picture.draft("RGB", (PIXELS, PIXELS))
        picture.thumbnail((PIXELS, PIXELS))
        shown = picture if picture.mode in ("RGB", "RGBA") else picture.convert("RGBA")
        buffer = io.BytesIO()
        shown.save(buffer, "WEBP", quality=82, method=2)
    return buffer.getvalue()
