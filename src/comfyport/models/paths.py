"""The rules for a path that a lock, or an archive, may name: it stays below `models/` and means the same everywhere."""

import re
import unicodedata
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, Field

from comfyport.errors import ModelError

# A file system takes 255; receipts and files being written beside the model have longer names than the model itself.
LONGEST_NAME_BYTES = 200
# With the volume's own path before it, and a receipt's folder, well below the 4096 that a system call takes.
LONGEST_PATH_BYTES = 1000

# Windows opens a device for these names whatever follows the dot; a lock must mean the same everywhere.
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[\d¹²³]) *(\..*)?", re.IGNORECASE)

# They turn the rest of a name around on the screen, so that it reads as another (Unicode technical report 36, 2.10).
_TURNING = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_CONTROL = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029]")


def remote_path(text: str) -> str:
    """`text`, if it names a file of a repository: relative, with forward slashes, never upwards. Raises ValueError."""
    parts = text.split("/")
    if "" in parts or "." in parts:
        raise ValueError("must be a plain relative path such as checkpoints/a.safetensors")
    if "\\" in text or _CONTROL.search(text):
        raise ValueError("must not contain a backslash or a control character")
    if _TURNING.search(text):
        raise ValueError("must not contain a character that changes the direction of the text")
    if ".." in parts:
        raise ValueError("must not contain '..'")
    return text


def safe_path(text: str) -> str:
    """`text`, if a file can have this path below `models/` on every volume. Raises ValueError."""
    for part in remote_path(text).split("/"):
        if any(character in '<>:"|?*' for character in part):
            raise ValueError("""must not contain a colon or one of < > " | ? *""")
        if _DEVICE.fullmatch(part):
            raise ValueError("must not contain the name of a device")
        if part.startswith("."):
            # Files being written have such names, and so has comfyport's own folder.
            raise ValueError("must not contain a part that begins with a dot")
        if part != part.strip() or part.endswith("."):
            raise ValueError("must not contain a part that begins with a space, or ends with a space or a dot")
        if len(part.encode("utf-8", "surrogatepass")) > LONGEST_NAME_BYTES:
            raise ValueError(f"must not contain a part of more than {LONGEST_NAME_BYTES} bytes")
    # JSON can spell half of a surrogate pair, which no file system takes.
    if len(text.encode("utf-8")) > LONGEST_PATH_BYTES:
        raise ValueError(f"must not be longer than {LONGEST_PATH_BYTES} bytes")
    return text


RemotePath = Annotated[str, AfterValidator(remote_path)]
# The pattern is for editors; it says less than the function.
SafePath = Annotated[str, AfterValidator(safe_path), Field(json_schema_extra={"pattern": r"^[^./\\:][^\\:]*$"})]


def folded(path: str) -> str:
    """A form that is the same for two paths which are one file on a volume that ignores case, or normalises names."""
    return unicodedata.normalize("NFC", path).casefold()


def no_links_on_the_way(root: Path, path: str) -> None:
    """Refuses a model's path when a folder between `models/` and the file is a link that leads off the volume.

    `root` is the volume, `path` the model's below `models/`; a link that stays on the volume is fine, and so is
    `models` itself being one. Raises ModelError, naming the link.
    """
    models = root / "models"
    volume = (root.resolve(), models.resolve())
    folder = models
    for part in PurePosixPath(path).parent.parts:
        folder /= part
        if not folder.is_symlink():
            continue
        target = folder.resolve()
        if not any(target.is_relative_to(place) for place in volume):
            raise ModelError(
                f"{path} is not touched: {folder} is a link that leads off the volume, to {target}. "
                "Put a folder in its place, or mount the volume where the link leads.",
                path=path,
                link=str(folder),
                target=str(target),
            )
