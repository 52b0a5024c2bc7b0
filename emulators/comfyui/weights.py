"""Checks that a weight file opens, with the errors that safetensors 0.8 and torch give."""

import json
from pathlib import Path

LARGEST_HEADER = 100_000_000
"""safetensors refuses longer headers, in bytes."""


class SafetensorError(Exception):
    """What the safetensors library raises; ComfyUI reports it under this full name."""

    __module__ = "safetensors._safetensors_rust"


class UnpicklingError(Exception):
    """What torch.load raises for a file that is no checkpoint."""

    __module__ = "_pickle"


def check_weights(path: Path) -> None:
    """Raises unless `path` can be opened: the whole header of .safetensors, the first bytes of others."""
    if path.suffix.lower() in (".safetensors", ".sft"):
        read_header(path)
        return
    with path.open("rb") as file:
        start = file.read(4)
    if not start.startswith((b"PK\x03\x04", b"\x80")):
        raise UnpicklingError(f"invalid load key, '{start[:1].decode('latin-1')}'.")


def read_header(path: Path) -> dict[str, dict[str, object]]:
    """A safetensors file's header: tensor name -> dtype, shape, data_offsets (and `__metadata__`).

    8 bytes little-endian length, that many bytes of JSON, then the data, covered by the offsets without
    a gap: https://huggingface.co/docs/safetensors/index#format
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = int.from_bytes(start, "little")
        if len(start) < 8:
            raise _header_error("header too small")
        if length > LARGEST_HEADER:
            raise _header_error("header too large")
        if 8 + length > size:
            raise _header_error("invalid header length")
        text = file.read(length)
    try:
        header: dict[str, dict[str, object]] = json.loads(text)
        ends = [_end(entry) for name, entry in header.items() if name != "__metadata__"]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _header_error(f"invalid JSON in header: {error}") from error
    if max(ends, default=0) != size - 8 - length:
        raise _header_error("incomplete metadata, file not fully covered")
    return header


def _end(entry: dict[str, object]) -> int:
    offsets = entry["data_offsets"]
    if not isinstance(offsets, list):
        raise TypeError("data_offsets is no list")
    return int(offsets[1])


def _header_error(reason: str) -> SafetensorError:
    return SafetensorError(f"Error while deserializing header: {reason}")
