"""What kind of media a file is, by its name: the same on every machine, whatever its own table says."""

import mimetypes
from pathlib import PurePosixPath

UNKNOWN = "application/octet-stream"

# What Python's own table lacks, or has only since some version. Opus: RFC 7845, section 9.
_TYPES = {
    ".apng": "image/apng",
    ".avif": "image/avif",
    ".bmp": "image/bmp",
    ".exr": "image/x-exr",
    ".hdr": "image/vnd.radiance",
    ".heic": "image/heic",
    ".heif": "image/heif",
    ".jfif": "image/jpeg",
    ".jxl": "image/jxl",
    ".psd": "image/vnd.adobe.photoshop",
    ".webp": "image/webp",
    ".avi": "video/x-msvideo",
    ".m4v": "video/mp4",
    ".mkv": "video/x-matroska",
    ".mov": "video/quicktime",
    ".ogv": "video/ogg",
    ".webm": "video/webm",
    ".aac": "audio/aac",
    ".flac": "audio/flac",
    ".m4a": "audio/mp4",
    ".mka": "audio/x-matroska",
    ".oga": "audio/ogg",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".wav": "audio/wav",
    ".weba": "audio/webm",
    ".fbx": UNKNOWN,
    ".glb": "model/gltf-binary",
    ".gltf": "model/gltf+json",
    ".obj": "model/obj",
    ".ply": "model/ply",
    ".splat": UNKNOWN,
    ".stl": "model/stl",
    ".usdz": "model/vnd.usdz+zip",
    ".ckpt": UNKNOWN,
    ".latent": UNKNOWN,
    ".npy": UNKNOWN,
    ".npz": "application/zip",
    ".pt": UNKNOWN,
    ".pth": UNKNOWN,
    ".safetensors": UNKNOWN,
    ".sft": UNKNOWN,
    ".csv": "text/csv",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".md": "text/markdown",
    ".srt": "application/x-subrip",
    ".vtt": "text/vtt",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}
# Without arguments this holds what Python itself knows, and nothing of the system's files.
_PYTHONS = mimetypes.MimeTypes()
_SCENES = frozenset({".fbx", ".glb", ".gltf", ".obj", ".ply", ".splat", ".stl", ".usdz"})


def media_type(name: str) -> str:
    """The media type of a file called `name`; `application/octet-stream` if its suffix says nothing."""
    suffix = PurePosixPath(name).suffix.lower()
    return _TYPES.get(suffix) or _PYTHONS.guess_type(f"file{suffix}")[0] or UNKNOWN


def is_scene(name: str) -> bool:
    """Whether the name is that of a file with something three-dimensional."""
    return PurePosixPath(name).suffix.lower() in _SCENES
