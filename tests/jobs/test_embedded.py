"""Base64 in a job: decoded piece by piece, and by the whole of its rules."""

import base64
import binascii
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyport.jobs import embedded
from comfyport.jobs.embedded import decoded


def whole(text: str) -> bytes:
    return b"".join(decoded(text))


@pytest.mark.parametrize(
    "text",
    [
        "aGk=",
        "data:image/png;base64,aGk=",
        "data:;base64,aGk=",
        "image/png;base64,aGk=",
        " aG\nk= ",
        "aGk=\r\n",
        "a G k =",
    ],
)
def test_decodes_base64_and_data_uris(text: str):
    assert whole(text) == b"hi"


def test_nothing_decodes_to_nothing():
    assert whole("") == whole("data:image/png;base64,") == b""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a", "number of data characters (1) cannot be 1 more than a multiple of 4"),
        ("aGk", "Incorrect padding"),
        ("a?b=", "Only base64 data is allowed"),
        ("aG=k", "Discontinuous padding"),
        ("aGk=aGk=", "Excess data after padding"),
        ("aGk=a", "Excess data after padding"),
        ("aGk=" + "\n" * embedded.PIECE + "aGk=", "Excess data after padding"),
        ("aGk-", "Only base64 data is allowed"),
        ("äöüß", "ASCII"),
        ("data:text/plain,hello", "does not say ';base64,'"),
        ("data:image/png", "does not say ';base64,'"),
    ],
)
def test_refuses_what_is_not_base64_as_python_words_it(text: str, reason: str):
    with pytest.raises(ValueError, match=re.escape(reason)):
        whole(text)


@given(st.binary(max_size=300), st.integers(1, 9))
def test_the_size_of_the_pieces_makes_no_difference(content: bytes, every: int):
    text = base64.b64encode(content).decode()
    broken = "\n".join(text[start : start + every] for start in range(0, len(text), every))

    assert whole(text) == whole(broken) == content


def test_a_text_of_many_pieces_is_decoded_with_one_piece_in_memory():
    content = bytes(range(256)) * 20_000
    pieces = list(decoded(base64.encodebytes(content).decode()))

    assert b"".join(pieces) == content
    assert max(len(piece) for piece in pieces) < embedded.PIECE


@given(st.text(st.sampled_from("aGk=+/ \n?"), max_size=12))
def test_agrees_with_python_on_what_is_base64(text: str):
    try:
        expected: bytes | None = base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error:
        expected = None
    try:
        actual: bytes | None = whole(text)
    except ValueError:
        actual = None

    assert actual == expected
