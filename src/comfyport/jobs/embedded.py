"""File content that stands in the job itself, as base64 or as a data URI, decoded piece by piece."""

import base64
import binascii
import re
from collections.abc import Iterator

# A piece is decoded in about a millisecond, during which no other thread runs.
PIECE = 1 << 20
# `data:image/png;base64,`; worker-comfyui takes whatever stands before a comma for such a head.
HEAD = re.compile(r"[^,]{0,500};base64,", re.IGNORECASE)


def decoded(text: str) -> Iterator[bytes]:
    """The bytes of base64 text, with or without `data:…;base64,` before it. Raises ValueError.

    Only the whole of the alphabet's rules will do, but spaces and line breaks count for nothing.
    """
    head = HEAD.match(text, 0, 600)
    if head is None and text[:5].lower() == "data:":
        raise ValueError("its data URI does not say ';base64,'")
    left, ended, digits = "", False, 0
    for start in range(head.end() if head else 0, len(text), PIECE):
        piece = left + "".join(text[start : start + PIECE].split())
        whole = len(piece) // 4 * 4
        piece, left, digits = piece[:whole], piece[whole:], digits + whole
        if ended and (piece or left):
            raise ValueError("Excess data after padding")
        yield _decoded(piece)
        ended = piece.endswith("=")
    if left and ended:
        raise ValueError("Excess data after padding")
    if len(left) == 1 and (left.isalnum() or left in "+/"):
        count = f"number of data characters ({digits + 1}) cannot be 1 more than a multiple of 4"
        raise ValueError(f"Invalid base64-encoded string: {count}")
    yield _decoded(left)


def _decoded(piece: str) -> bytes:
    try:
        return base64.b64decode(piece, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None
