"""How pictures are built, as far as it takes to see that one was cut short, or has too many frames: nothing is decoded.

ComfyUI opens a picture that was cut short without a word and works on with grey in place of the rest (it sets Pillow's
LOAD_TRUNCATED_IMAGES, node_helpers.py, v0.3.64). The formats: PNG (W3C, section 5), JPEG (T.81, annex B), GIF (89a),
WebP (RFC 9649, section 2.3).
"""

import struct
from collections.abc import Callable, Iterator
from mmap import mmap

# A picture of parts so small that it has more of them than this is made to keep us busy: a second, at most.
MOST_PARTS = 4_000_000

JPEG_SCAN, JPEG_END = 0xDA, b"\xff\xd9"
GIF_EXTENSION, GIF_FRAME, GIF_TRAILER = 0x21, 0x2C, 0x3B


class Malformed(Exception):
    """A picture whose parts do not follow each other as its format demands; the text says what it is."""


def check_whole(kind: str, data: mmap) -> None:
    """Raises Malformed for a picture (`kind` as Pillow names its format) that ends before its end.

    Formats that do not tell where they end pass.
    """
    walk: Callable[[mmap], None] | None = {
        "PNG": _walk_png,
        "JPEG": _walk_jpeg,
        "MPO": _walk_jpeg,
        "GIF": _walk_gif,
        "WEBP": _walk_webp,
    }.get(kind)
    if walk is None:
        return
    try:
        walk(data)
    except IndexError:
        raise Malformed("it was cut short") from None


def gif_frames(data: mmap) -> Iterator[tuple[int, int]]:
    """How far to the right and down each frame of a GIF goes, in pixels. Raises Malformed."""
    try:
        yield from _gif_frames(data)
    except (IndexError, struct.error):
        raise Malformed("it was cut short") from None


def _gif_frames(data: mmap) -> Iterator[tuple[int, int]]:
    position = 13 + _colours(data[10])
    for _ in range(MOST_PARTS):
        if position >= len(data) or data[position] == GIF_TRAILER:
            return
        if data[position] == GIF_FRAME:
            left, top, width, height, flags = struct.unpack_from("<4HB", data, position + 1)
            yield left + width, top + height
            position = _after_blocks(data, position + 11 + _colours(flags))
        elif data[position] == GIF_EXTENSION:
            position = _after_blocks(data, position + 2)
        else:
            position += 1
    raise Malformed("it has too many parts")


def _walk_gif(data: mmap) -> None:
    # A trailer that is missing harms nobody; a frame or an extension that breaks off does.
    if not sum(1 for _ in gif_frames(data)):
        raise Malformed("it was cut short")


def _colours(flags: int) -> int:
    """The bytes of a colour table by the flags before it."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _after_blocks(data: mmap, position: int) -> int:
    """The position after a row of blocks, each of which begins with its length; the last is empty."""
    for _ in range(MOST_PARTS):
        length = data[position]
        position += length + 1
        if not length:
            return position
    raise Malformed("it has too many parts")


def _walk_png(data: mmap) -> None:
    position = 8
    for _ in range(MOST_PARTS):
        length, kind = int.from_bytes(data[position : position + 4]), data[position + 4 : position + 8]
        position += length + 12
        if position > len(data):
            raise IndexError
        if kind == b"IEND":
            return
    raise Malformed("it has too many parts")


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
    raise Malformed("it has too many parts")


def _walk_webp(data: mmap) -> None:
    if 8 + int.from_bytes(data[4:8], "little") > len(data):
        raise IndexError
