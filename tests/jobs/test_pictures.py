"""Pictures are judged by their headers: what they are, whether they are whole, how large they would become."""

import io
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from comfyport.jobs import pictures
from comfyport.jobs.pictures import PictureRefused
from comfyport.jobs.structure import MOST_PARTS

FORMATS = ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "ICO", "PPM", "QOI", "MPO", "JPEG2000"]
ANIMATED = ["GIF", "WEBP", "PNG", "TIFF", "AVIF"]
GIF_HEAD = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0, 0, 0)


def saved(kind: str, size: tuple[int, int] = (64, 64), frames: int = 1) -> bytes:
    first, *others = (Image.effect_noise(size, 40 + number).convert("RGB") for number in range(frames))
    buffer = io.BytesIO()
    first.save(buffer, kind, **({"save_all": True, "append_images": others} if others else {}))
    return buffer.getvalue()


def refusal(folder: Path, content: bytes, *, most: int = 1_000_000, must_be: bool = True) -> str | None:
    file = folder / "picture"
    file.write_bytes(content)
    try:
        pictures.check(file, most_pixels=most, must_be=must_be)
    except PictureRefused as refused:
        return str(refused)
    return None


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_of(width: int, height: int) -> bytes:
    """A PNG that promises much more than it holds."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def gif_frame(width: int, height: int) -> bytes:
    return b"\x2c" + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x44\x01\x00"


@pytest.mark.parametrize("kind", FORMATS)
def test_a_picture_of_any_common_format_is_one(tmp_path: Path, kind: str):
    assert refusal(tmp_path, saved(kind)) is None


@pytest.mark.parametrize("kind", FORMATS)
def test_the_pixels_of_a_picture_are_limited(tmp_path: Path, kind: str):
    reason = "it has more than the 0.004095 megapixels that INPUT_MEGAPIXELS allows"

    assert refusal(tmp_path, saved(kind), most=4095) == reason
    assert refusal(tmp_path, saved(kind), most=4096) is None


@pytest.mark.parametrize("kind", ANIMATED)
def test_the_pixels_of_all_frames_count_together(tmp_path: Path, kind: str):
    content = saved(kind, frames=10)

    assert refusal(tmp_path, content, most=10 * 4096 - 1) is not None
    assert refusal(tmp_path, content, most=10 * 4096) is None


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "MPO", "WEBP", "GIF"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_picture_that_was_cut_short_is_refused(tmp_path: Path, kind: str, share: float):
    content = saved(kind, frames=3 if kind == "GIF" else 1)

    assert refusal(tmp_path, content[: int(len(content) * share)]) == "it was cut short"


def test_a_thumbnail_does_not_make_a_cut_jpeg_whole(tmp_path: Path):
    whole = saved("JPEG")
    thumbnail = b"\xff\xe1" + struct.pack(">H", 2 + len(whole)) + whole
    content = whole[:2] + thumbnail + whole[2:]

    assert refusal(tmp_path, content) is None
    assert refusal(tmp_path, content[:-10]) == "it was cut short"


def test_a_picture_with_something_behind_it_is_whole(tmp_path: Path):
    assert [refusal(tmp_path, saved(kind) + b"more") for kind in ("PNG", "JPEG", "WEBP", "GIF")] == [None] * 4


@pytest.mark.parametrize("must_be", [True, False])
@pytest.mark.parametrize(
    "content",
    [
        png_of(50_000, 50_000),
        png_of(30_000, 30_000)[:-12],
        GIF_HEAD + gif_frame(60_000, 60_000) + b";",
        GIF_HEAD + gif_frame(1, 1) * 50_000 + b";",
    ],
    ids=["png", "png_without_end", "gif_that_juts_out", "gif_of_many_frames"],
)
def test_a_bomb_is_refused_whether_it_must_be_a_picture_or_not(tmp_path: Path, content: bytes, must_be: bool):
    assert refusal(tmp_path, content, most=150_000_000, must_be=must_be) is not None


@pytest.mark.parametrize("must_be", [True, False])
@pytest.mark.parametrize(
    "content",
    [
        GIF_HEAD + b"\x21\xfe" + b"\x01a" * MOST_PARTS + b"\0;",
        png_of(1, 1)[:33] + chunk(b"teSt", b"") * MOST_PARTS,
    ],
    ids=["gif", "png"],
)
def test_a_picture_of_a_million_parts_is_refused(tmp_path: Path, content: bytes, must_be: bool):
    assert refusal(tmp_path, content, must_be=must_be) == "it is made of an absurd number of parts"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "it is empty"),
        (b"hello", "it is text"),
        ("grüße".encode()[:-1], "it is text"),
        (b"  <!DOCTYPE HTML><html>", "it is a web page (HTML)"),
        (b'{"error": "denied"}', "it is JSON"),
        (b"<?xml version='1.0'?><Error>", "it is XML"),
        (b"<svg xmlns=''>", "it is an SVG drawing"),
        (b"%PDF-1.7", "it is a PDF document"),
        (b"PK\x03\x04", "it is a ZIP archive"),
        (b"\0\0\0\x18ftypheic", "it is a HEIC picture"),
        (b"RIFF\x04\0\0\0WEBPVP8 ", "it is a damaged WebP file"),
        (b"\0\1\2\3\4\5\6\7\xf0", "it is of an unknown kind"),
    ],
)
def test_what_is_no_picture_is_called_what_it_is_where_one_is_expected(tmp_path: Path, content: bytes, what: str):
    assert (refusal(tmp_path, content) or "").startswith(what)
    assert refusal(tmp_path, content, must_be=False) is None


@pytest.mark.parametrize("content", [b"\0\0\0\x20ftypisom", b"\x1aE\xdf\xa3", b"RIFF\0\0\0\0WAVEfmt ", b"ID3"])
def test_sound_and_video_may_come_where_a_picture_is_expected(tmp_path: Path, content: bytes):
    assert refusal(tmp_path, content) is None
