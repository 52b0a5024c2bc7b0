"""What a file is, by its first bytes: for people who sent something else than they meant to."""

import re

# How the start of a file is told (offset, bytes), most telling first.
SIGNATURES = (
    (0, b"\x89PNG", "a damaged PNG file"),
    (0, b"\xff\xd8\xff", "a damaged JPEG file"),
    (0, b"GIF8", "a damaged GIF file"),
    (8, b"WEBP", "a damaged WebP file"),
    (0, b"II*\0", "a damaged TIFF file"),
    (0, b"MM\0*", "a damaged TIFF file"),
    (0, b"%PDF", "a PDF document"),
    (0, b"PK\x03\x04", "a ZIP archive, or an office document"),
    (0, b"\x1f\x8b", "gzip-compressed data"),
    (0, b"\x1aE\xdf\xa3", "a video (WebM or Matroska)"),
    (0, b"OggS", "Ogg audio"),
    (0, b"fLaC", "FLAC audio"),
    (0, b"ID3", "MP3 audio"),
    (0, b"\xff\xfb", "MP3 audio"),
    (0, b"glTF", "a 3D model (glTF)"),
    (8, b"WAVE", "WAV audio"),
    (8, b"AVI ", "a video (AVI)"),
    (4, b"ftyphei", "a HEIC picture, which ComfyUI cannot open"),
    (4, b"ftypmif", "a HEIF picture, which ComfyUI cannot open"),
    (4, b"ftypavi", "a damaged AVIF file"),
    (4, b"ftypM4A", "M4A audio"),
    (4, b"ftypqt", "a video (QuickTime)"),
    (4, b"ftyp", "a video (MP4)"),
    (8, b'{"', "a safetensors file"),
)
TEXTS = (
    (re.compile(rb"\s*<(!doctype html|html|head|body)", re.IGNORECASE), "a web page (HTML)"),
    (re.compile(rb"\s*(<\?xml[^>]*>\s*)?<svg", re.IGNORECASE), "an SVG drawing, which ComfyUI cannot open"),
    (re.compile(rb"\s*<\?xml", re.IGNORECASE), "XML"),
    (re.compile(rb'\s*(\{\s*["}]|\[)'), "JSON"),
)
LOOKED_AT = 512


def kind(start: bytes) -> str:
    """A few words for what a file with this start is."""
    if not start:
        return "empty"
    for offset, signature, words in SIGNATURES:
        if start.startswith(signature, offset):
            return words
    for pattern, words in TEXTS:
        if pattern.match(start):
            return words
    text = start.decode("utf-8", "ignore")
    if len(text.encode()) > len(start) - 4 and not re.search(r"[\0-\x08\x0e-\x1f]", text):
        return "text"
    return "of an unknown kind"


def is_sound_or_video(start: bytes) -> bool:
    """Whether it is something that ComfyUI's loaders of sound and video may read."""
    words = kind(start)
    return words.startswith("a video") or words.endswith("audio")
