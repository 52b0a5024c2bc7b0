"""What a file is by its first bytes and its length: the weights that its name promises, or something in their place."""

import io
import json
import pickle
import random
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest

from comfyport.errors import WrongFormat
from comfyport.models.formats import check, page

NOISE = random.Random(1).randbytes(5000)


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        opened.writestr("archive/data.pkl", pickle.dumps({}, protocol=2))
        opened.writestr("archive/data/0", NOISE)
    return buffer.getvalue()


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as opened:
        info = tarfile.TarInfo("a")
        info.size = len(NOISE)
        opened.addfile(info, io.BytesIO(NOISE))
    return buffer.getvalue()


def safetensors(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


TENSORS = {
    "__metadata__": {"format": "pt"},
    "a": {"dtype": "F32", "shape": [3, 5], "data_offsets": [0, 60]},
    "b": {"dtype": "F16", "shape": [7], "data_offsets": [60, 74]},
}
WHOLE = safetensors(TENSORS, NOISE[:74])
TENSOR = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
GGUF = b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + NOISE


def checked(tmp_path: Path, name: str, content: bytes) -> None:
    file = tmp_path / "data"
    file.write_bytes(content)
    check(file, f"checkpoints/{name}")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.safetensors", WHOLE),
        ("a.SFT", WHOLE),
        ("a.safetensors", safetensors({})),
        ("a.gguf", GGUF),
        ("a.pth", zipped()),
        ("a.ckpt", pickle.dumps([NOISE], protocol=2)),
        ("a.pt", tarred()),
        ("a.pth.tar", zipped()),
        ("a.bin", zipped()),
        ("a.bin", NOISE),
        ("a.zip", zipped()),
        ("a.tar", tarred()),
        ("a.onnx", b"\x08\x07\x12\x07pytorch" + NOISE),
        ("config.json", b'{"error": "a word like any other"}'),
        ("vocabulary.txt", b"<s>\n<unk>\n"),
        ("page.html", b"<!doctype html>"),
        ("noname", NOISE),
    ],
)
def test_accepts(tmp_path: Path, name: str, content: bytes):
    checked(tmp_path, name, content)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.safetensors", WHOLE[:-1], "bytes, but there are"),
        ("a.safetensors", WHOLE + b"x", "bytes, but there are"),
        ("a.safetensors", WHOLE[:20], "in the middle of its header"),
        ("a.safetensors", WHOLE[:5], "does not begin as a safetensors"),
        ("a.safetensors", b"\xff" * 100, "does not begin as a safetensors"),
        ("a.safetensors", safetensors(b"nonsense"), "header is not"),
        ("a.safetensors", safetensors(b"[" * 100_000), "header is not"),
        ("a.safetensors", safetensors([1]), "header is not"),
        ("a.safetensors", safetensors({"t": {"data_offsets": [4, 0]}}), "where the tensor 't' lies"),
        ("a.safetensors", safetensors({"t": TENSOR | {"data_offsets": [0, "4"]}}, b"1234"), "where the tensor"),
        ("a.gguf", b"GGUF", "GGUF"),
        ("a.gguf", NOISE, "GGUF"),
        ("a.gguf", b"GGUF" + bytes(20), "GGUF"),
        ("a.pth", zipped()[:-100], "damaged or cut short"),
        ("a.pth", zipped()[:50] + zipped()[60:], "damaged or cut short"),
        ("a.ckpt", NOISE, "neither a zip nor a pickle"),
        ("a.zip", NOISE, "damaged or cut short"),
        ("a.bin", zipped()[:-100], "damaged or cut short"),
        ("a.tar", NOISE, "tar file"),
        ("a.tgz", NOISE, ".tgz"),
        ("a.onnx", b"not a model", "a text"),
        ("a.onnx", b"", "empty"),
        ("a.bin", b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 1\n", "a Git LFS pointer"),
        ("a.bin", b"\xef\xbb\xbf \r\n<!DOCTYPE html><title>Log in</title>", "a web page"),
        ("a.bin", "<html>".encode("utf-16"), "a web page"),
        ("a.bin", b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "an XML answer"),
        ("config.json", b"<html><body>Please log in", "a web page"),
        ("a.bin", b'{"error": "Unauthorized", "message": "The creator requires you to log in"}', "you to log in"),
        ("a.bin", b"[]", "a JSON answer"),
    ],
)
def test_says_what_is_wrong_with(tmp_path: Path, name: str, content: bytes, says: str):
    with pytest.raises(WrongFormat) as told:
        checked(tmp_path, name, content)

    assert says in told.value.message
    assert f"checkpoints/{name}" in told.value.message


@pytest.mark.parametrize(
    "secret",
    ["hf_abcdefghijklmnop", "Bearer abc", "token=abc123", "0123456789abcdef", "https://host/a?Signature=x&Expires=1"],
)
def test_a_message_that_is_repeated_holds_no_secret(secret: str):
    told = page(json.dumps({"message": f"denied for {secret} today\x1b[2J"}).encode())

    assert told is not None
    assert "denied for" in told
    assert secret not in told
    assert "\x1b" not in told


def test_a_long_message_is_cut():
    told = page(json.dumps({"message": "word " * 200}).encode())

    assert told is not None
    assert len(told) < 200
