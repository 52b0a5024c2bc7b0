"""How pictures are built, as far as it takes to see that one was cut short, or has too many parts: nothing is decoded.

ComfyUI opens a picture that was cut short without a word and works on with grey in place of the rest (it sets Pillow's
LOAD_TRUNCATED_IMAGES, node_helpers.py, v0.3.64). The formats: PNG (W3C, section 5), JPEG (T.81, annex B), GIF (89a),
WebP (RFC 9649, section 2.3).
"""

import struct
from collections.abc import Callable, Iterator
from mmap import mmap

# Encoders write parts of 255 bytes (GIF) to 64 KB: what has more than this was made to keep somebody busy.
MOST_PARTS = 1_000_000

JPEG_SCAN, JPEG_END = 0xDA, b"\xff\xd9"
GIF_EXTENSION, GIF_FRAME, GIF_TRAILER = 0x21, 0x2C, 0x3B


class Malformed(Exception):
    """A picture whose parts do not follow each other as its format demands; the text says what it is."""


class TooManyParts(Malformed):
    """A picture of so many parts that to go through them is work by itself."""

    def __init__(self) -> None:
        super().__init__("it is made of an absurd number of parts")


def check_whole(data: mmap) -> None:
    """Raises Malformed for a PNG, JPEG, GIF or WebP that ends before its end; whatever else it is passes."""
    try:
        if walk := _walk(data):
            walk(data)
    except (IndexError, struct.error):
        raise Malformed("it was cut short") from None


def gif_frames(data: mmap) -> Iterator[tuple[int, int]]:
    """How far to the right and down each frame of a GIF goes, in pixels, up to the point where the file breaks off."""
    try:
        yield from _gif_frames(data)
    except (IndexError, struct.error):
        return


def _walk(data: mmap) -> Callable[[mmap], None] | None:
    start = data[:12]
    if start.startswith(b"\x89PNG"):
        return _walk_png
    if start.startswith(b"\xff\xd8\xff"):
        return _walk_jpeg
    if start.startswith(b"GIF8"):
        return _walk_gif
    return _walk_webp if start.startswith(b"RIFF") and start.endswith(b"WEBP") else None


def _walk_png(data: mmap) -> None:
    position = 8
    for _ in range(MOST_PARTS):
        length, kind = int.from_bytes(data[position : position + 4]), data[position + 4 : position + 8]
        position += length + 12
        if position > len(data):
            raise IndexError
        if kind == b"IEND":
            return
    raise TooManyParts


def _walk_jpeg(data: mmap) -> None:
    """To the first scan; the marker of the end cannot stand inside of a scan, but may in a thumbnail before it."""
    position = 2
    for _ in range(MOST_PARTS):
        if data[position] != 0xFF:
            raise Malformed("it is damaged")
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
        elif marker == JPEG_SCAN:
            if data.rfind(JPEG_END, position) < 0:
                raise IndexError
            return
        else:
            position += 2 + (data[position + 2] << 8 | data[position + 3])
    raise TooManyParts


def _walk_gif(data: mmap) -> None:
    # A trailer that is missing harms nobody; a frame or an extension that breaks off does.
    if not sum(1 for _ in _gif_frames(data)):
        raise IndexError


def _gif_frames(data: mmap) -> Iterator[tuple[int, int]]:
    position, in_blocks = 13 + _colours(data[10]), False
    for _ in range(MOST_PARTS):
        if in_blocks:
            # Each block begins with its length; the last of a row is empty.
            in_blocks = data[position] != 0
            position += data[position] + 1
        elif position >= len(data) or data[position] == GIF_TRAILER:
            return
        elif data[position] == GIF_FRAME:
            left, top, width, height, flags = struct.unpack_from("<4HB", data, position + 1)
            yield left + width, top + height
            position, in_blocks = position + 11 + _colours(flags), True
        elif data[position] == GIF_EXTENSION:
            position, in_blocks = position + 2, True
        else:
            position += 1
    raise TooManyParts


def _colours(flags: int) -> int:
    """The bytes of a colour table by the flags before it."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _walk_webp(data: mmap) -> None:
    if 8 + int.from_bytes(data[4:8], "little") > len(data):
        raise IndexError
