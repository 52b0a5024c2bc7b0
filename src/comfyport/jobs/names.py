"""The names that a job's files have: which it may give, and under which they are put into ComfyUI's input folder.

    in.png            ->  4f0c…(32 hex digits)-in.png
    3d/Mein Rad.glb   ->  3d/9b1e…-Mein Rad.glb

The digest of the content makes the name unique without a job's id, so that ComfyUI's cache stays of use; the folder
stays, since some nodes look into one of their own; the suffix stays, since some nodes go by it.
"""

import re
import unicodedata
from pathlib import PurePosixPath

DIGITS = 32
# With the digest it stays below the 255 bytes that a file system takes.
LONGEST_BYTES = 180
LONGEST_SUFFIX_BYTES = 20
MOST_FOLDERS = 8

_OURS = re.compile(rf"[0-9a-f]{{{DIGITS}}}-.")
# ComfyUI reads `[output]` at the end of a name as another folder; the rest is what some system gives a meaning to.
_ODD = re.compile(r"[^\w .()+@=,~-]")


def problem(name: str) -> str | None:
    """What is wrong with the name of an input file, if anything: it must stay below ComfyUI's input folder."""
    parts = name.replace("\\", "/").split("/")
    if any(part in ("", ".", "..") for part in parts) or re.match(r"[A-Za-z]:", name):
        return "must be a plain file name such as in.png"
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
        # JSON can spell half of a surrogate pair, which no file system takes.
        return "must be a plain file name such as in.png, without control characters"
    if len(parts) > MOST_FOLDERS:
        return f"must not have more than {MOST_FOLDERS} parts"
    return None


def stored(name: str, sha256: str) -> str:
    """The name below ComfyUI's input folder for a file with this content."""
    *folders, last = (_plain(part) for part in name.replace("\\", "/").split("/"))
    return "/".join((*(_cut(folder, LONGEST_BYTES) for folder in folders), f"{sha256[:DIGITS]}-{_shortened(last)}"))


def is_ours(file_name: str) -> bool:
    """Whether `stored` made the name (its last part), so that a file which nobody uses any more may be removed."""
    return _OURS.match(file_name) is not None


def _plain(part: str) -> str:
    return _ODD.sub("_", unicodedata.normalize("NFC", part)).strip(" .") or "_"


def _shortened(name: str) -> str:
    suffix = _cut(PurePosixPath(name).suffix, LONGEST_SUFFIX_BYTES)
    return _cut(name.removesuffix(suffix), LONGEST_BYTES - len(suffix.encode())) + suffix


def _cut(text: str, longest: int) -> str:
    return text.encode()[:longest].decode(errors="ignore")
