"""Whether bytes can be the weight file that their name promises: the second line of defence after the sha256.

Where the rules come from: safetensors, https://huggingface.co/docs/safetensors/index#format; GGUF,
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md; torch's zip and pickle, `torch.serialization`; Git LFS
pointers, https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md.
"""

import codecs
import io
import json
import re
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from comfyport.errors import WrongFormat

# What is looked at of a file's beginning; the answers that we tell apart show themselves long before.
HEAD_BYTES = 4096
# The limit of the safetensors library itself.
LONGEST_SAFETENSORS_HEADER = 100_000_000
# Room for 100,000 members; a longer directory would only serve to fill our memory.
LONGEST_ZIP_DIRECTORY = 16 << 20
LONGEST_MESSAGE = 160

TORCH = frozenset({".pth", ".pt", ".ckpt"})
# Files that are text by right: JSON is no surprise there.
MARKUP = frozenset({".html", ".htm", ".md", ".svg", ".xml"})
TEXT = MARKUP | {
    *(".json", ".jsonl", ".ipynb", ".gltf", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".conf", ".prototxt"),
    *(".txt", ".csv", ".tsv", ".cube", ".py", ".js", ".jinja"),
}
MAGIC = {
    ".gz": b"\x1f\x8b",
    ".tgz": b"\x1f\x8b",
    ".xz": b"\xfd7zXZ\x00",
    ".txz": b"\xfd7zXZ\x00",
    ".bz2": b"BZh",
    ".zst": b"\x28\xb5\x2f\xfd",
}

_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_PAGE = re.compile(
    r"<(!doctype\s+html|(html|head|body|title|meta|script|style|link|center|h1|div|br)[\s/>])", re.IGNORECASE
)
_XML = re.compile(r"<(\?xml|error|!--)", re.IGNORECASE)
_TAG = re.compile(r"<[!?/a-z]", re.IGNORECASE)
_POINTER = re.compile(r"version\s+https://(git-lfs\.github\.com|hawser\.github\.com)/spec/", re.IGNORECASE)
_MESSAGE_KEYS = ("message", "error_description", "detail", "error", "msg", "reason", "title")
# Words that may be a secret: what follows a telling name, a known prefix, a UUID, a long run of letters and digits.
_SECRET = re.compile(
    r"""\b(bearer|basic)\s+\S+
    | \S*(token|key|secret|password|signature|credential)s?["']?\s*[=:]\s*\S+
    | \S*(
        \b(hf|sk|pk|gh[a-z]|github_pat|glpat|xox[a-z]|r8|nvapi|rpa)[_-]\w{4}
      | [0-9a-f]{8}-[0-9a-f]{4}-
      | (?=[a-z]*\d)[a-z0-9]{12}
      | [a-z]{24}
      | \?\S+=
    )\S*""",
    re.IGNORECASE | re.VERBOSE,
)


class _Wrong(Exception):
    """What speaks against a file."""


def check(file: Path, path: str) -> None:
    """Looks whether `file` is what the name of `path` says, without reading all of it.

    Finds files that are cut short where the format tells its length (safetensors, zip, torch). Formats that it does
    not know only have to be no web page or other answer in place of a file. Raises WrongFormat.
    """
    kind = _kind(path)
    with file.open("rb") as opened:
        head = opened.read(HEAD_BYTES)
    size = file.stat().st_size
    try:
        if answer := page(head, kind):
            raise _Wrong(f"it is {answer}")
        if kind in (".safetensors", ".sft"):
            _check_safetensors(file, size)
        elif kind == ".gguf":
            _check_gguf(head)
        elif kind in TORCH:
            _check_torch(file, head)
        elif kind == ".zip" or (kind == ".bin" and head.startswith(b"PK\x03\x04")):
            _check_zip(file)
        elif kind == ".onnx":
            _check_binary(head)
        elif kind == ".tar":
            _check_tar(head)
        elif kind in MAGIC and not head.startswith(MAGIC[kind]):
            raise _Wrong(f"it does not begin as a {kind} file does")
    except _Wrong as problem:
        raise WrongFormat(path, str(problem)) from None


def page(head: bytes, suffix: str = "") -> str | None:
    """What a text is that came in place of a weight file, by its first bytes; None for what may be the file.

    `suffix` is the wanted file's, with its dot: config files that are text by right pass, a web page in their place
    does not. Half a kilobyte is enough to tell, or the whole answer if it is shorter.
    """
    text = _text(head[:HEAD_BYTES])
    if not text:
        return None
    kind = suffix.lower()
    if _POINTER.match(text):
        return "a Git LFS pointer"
    if text[0] == "<" and kind not in MARKUP:
        return _markup(text, weights=kind not in TEXT)
    if text[0] in "{[" and kind not in TEXT:
        message = _message(text)
        return f"a JSON answer: {message}" if message else "a JSON answer"
    return None


@contextmanager
def opened_zip(file: Path) -> Iterator[zipfile.ZipFile]:
    """An open zip with its directory read. Raises zipfile.BadZipFile, whatever is wrong with the directory."""
    with _ShortReads(file) as source:
        try:
            opened = zipfile.ZipFile(source)
        except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
            raise zipfile.BadZipFile(str(error)) from None
        with opened:
            # Offsets are counted from the directory: bytes lost before it put the first member before the file.
            if any(member.header_offset < 0 for member in opened.infolist()):
                raise zipfile.BadZipFile("bytes are missing in the middle")
            yield opened


class _ShortReads(io.FileIO):
    """A file that is never read in one great gulp, as zipfile reads a directory of any length."""

    def read(self, size: int | None = -1, /) -> bytes:
        """The bytes asked for, or all that are left. Raises zipfile.BadZipFile if that is a great many."""
        asked = LONGEST_ZIP_DIRECTORY + 1 if size is None or size < 0 else size
        content = super().read(min(asked, LONGEST_ZIP_DIRECTORY + 1)) or b""
        if len(content) > LONGEST_ZIP_DIRECTORY:
            raise zipfile.BadZipFile("its directory is too long")
        return content


def _kind(path: str) -> str:
    """The suffix that tells the format; for `x.pth.tar`, a habit of researchers, the one that is meant."""
    suffixes = [suffix.lower() for suffix in PurePosixPath(path).suffixes]
    if suffixes[-1:] == [".tar"] and suffixes[-2:-1] and suffixes[-2] in TORCH:
        return suffixes[-2]
    return suffixes[-1] if suffixes else ""


def _text(head: bytes) -> str:
    """The text that `head` begins with, without byte order mark and white space; empty if it is no text."""
    for mark, encoding in ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")):
        if head.startswith(mark):
            head = head.decode(encoding, "ignore").encode("utf-8", "ignore")
    head = head.removeprefix(codecs.BOM_UTF8).lstrip()
    # Most weight files are through here, after one look at one byte.
    if head[:1].lower() not in (b"<", b"{", b"[", b"v") or _CONTROL.search(head):
        return ""
    return head.decode("utf-8", "replace").lstrip("\ufeff")


def _markup(text: str, *, weights: bool) -> str | None:
    if _PAGE.match(text) or (_XML.match(text) and re.search(r"<html|<!doctype\s+html", text, re.IGNORECASE)):
        return "a web page"
    # Vocabularies are text that may begin with a tag of their own: <s>, <unk>.
    if _XML.match(text) or (weights and _TAG.match(text)):
        return "an XML answer"
    return None


def _message(text: str) -> str:
    """The message in a JSON answer, which may be cut short: one line, shortened, without what may be a secret."""
    for key in _MESSAGE_KEYS:
        found = re.search(rf'"{key}"\s*:\s*"((?:[^"\\]|\\.)+)"', text, re.IGNORECASE)
        if found:
            return _harmless(_unescaped(found[1]))
    return ""


def _unescaped(text: str) -> str:
    try:
        return str(json.loads(f'"{text}"', strict=False))
    except ValueError:
        return text


def _harmless(message: str) -> str:
    printable = "".join(character if character.isprintable() else " " for character in message)
    line = " ".join(_SECRET.sub("…", printable).split())
    return line if len(line) <= LONGEST_MESSAGE else f"{line[:LONGEST_MESSAGE]}…"


def _check_safetensors(file: Path, size: int) -> None:
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if size < 8 or length > LONGEST_SAFETENSORS_HEADER:
            raise _Wrong("it does not begin as a safetensors file does")
        if 8 + length > size:
            raise _Wrong(f"it ends in the middle of its header, after {size} bytes")
        try:
            header = json.loads(opened.read(length))
        except (ValueError, RecursionError):
            raise _Wrong("the header is not that of a safetensors file") from None
    if not isinstance(header, dict):
        raise _Wrong("the header is not that of a safetensors file")
    ends = [_end_of(name, tensor) for name, tensor in header.items() if name != "__metadata__"]
    expected = 8 + length + max(ends, default=0)
    if size != expected:
        raise _Wrong(f"by its header it has {expected} bytes, but there are {size}")


def _end_of(name: str, tensor: Any) -> int:
    """Where a tensor ends, in bytes from the end of the header."""
    match tensor:
        case {"data_offsets": [int(begin), int(end)]} if 0 <= begin <= end:
            return end
    raise _Wrong(f"the header does not say where the tensor {name[:80]!r} lies")


def _check_gguf(head: bytes) -> None:
    version = head[4:8]
    # A big-endian file has the same magic, and its small version at the other end.
    if head[:4] != b"GGUF" or len(head) < 24 or (version[:2] == b"\0\0") == (version[2:] == b"\0\0"):
        raise _Wrong("it does not begin as a GGUF file does")


def _check_torch(file: Path, head: bytes) -> None:
    if head.startswith(b"PK\x03\x04"):
        _check_zip(file)
    elif not re.match(rb"\x80[\x02-\x05]", head) and not _is_tar(head):
        raise _Wrong("it is neither a zip nor a pickle, as torch writes them")


def _check_zip(file: Path) -> None:
    try:
        with opened_zip(file):
            pass
    except zipfile.BadZipFile as error:
        raise _Wrong(f"as a zip it is damaged or cut short ({error})") from None


def _check_binary(head: bytes) -> None:
    if not _CONTROL.search(head):
        raise _Wrong("it is a text" if head else "it is empty")


def _check_tar(head: bytes) -> None:
    if not _is_tar(head) and not head.startswith(tuple(MAGIC.values())):
        raise _Wrong("it does not begin as a tar file does")


def _is_tar(head: bytes) -> bool:
    """Whether a tar's first header is there; older tars have no magic, but all have a checksum over 512 bytes."""
    digits = head[148:156].strip(b" \0")
    if len(head) < 512 or not digits or digits.strip(b"01234567"):
        return False
    return int(digits, 8) == sum(head[:148]) + 8 * 32 + sum(head[156:512])
