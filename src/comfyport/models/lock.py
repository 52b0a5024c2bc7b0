"""The format of models.lock.json: what to download, pinned.

    {"version": 1, "models": [{"directory": "checkpoints", "name": "a.safetensors", "size": 1, "sha256": "…",
     "groups": ["default"], "sources": [{"type": "huggingface", "repo": "o/r", "revision": "…", "file": "a"}]}]}

`directory` and `name` are ComfyUI's own words (a workflow's `properties.models`), so that entries paste both ways.
"""

import json
import os
import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from comfyport.errors import InvalidLock, UnknownGroup

DEFAULT_GROUP = "default"

# Windows opens a device for these names whatever follows the dot; a lock must mean the same everywhere.
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def _safe_path(text: str) -> str:
    """A relative path with forward slashes that stays below where it starts."""
    path = PurePosixPath(text)
    if not text or text != path.as_posix() or path.is_absolute() or text == ".":
        raise ValueError("must be a plain relative path such as checkpoints/a.safetensors")
    if "\\" in text or ":" in text or any(ord(character) < 32 for character in text):
        raise ValueError("must not contain a backslash, a colon or a control character")
    if any(part == ".." or _DEVICE.fullmatch(part) for part in path.parts):
        raise ValueError("must not contain '..' or the name of a device")
    return text


def _https(text: str) -> str:
    if not text.startswith(("https://", "http://")):
        raise ValueError("must start with https:// or http://")
    if "@" in text.split("/", 3)[2]:
        raise ValueError("must not contain a user name or password; name a variable with `auth` instead")
    return text


SafePath = Annotated[str, AfterValidator(_safe_path)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class HuggingFaceSource(_Strict):
    """A file in a repository on the Hugging Face Hub, at a commit."""

    type: Literal["huggingface"]
    repo: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
    revision: Annotated[str, Field(pattern=r"^[\w./-]+$")]
    file: SafePath


class UrlSource(_Strict):
    """A file at a plain address; `auth` names the environment variable that holds a bearer token."""

    type: Literal["url"]
    url: Annotated[str, AfterValidator(_https)]
    auth: Annotated[str, Field(pattern=r"^env:[A-Za-z_][A-Za-z0-9_]*$")] | None = None


Source = Annotated[HuggingFaceSource | UrlSource, Field(discriminator="type")]


class Entry(_Strict):
    """One model file: where ComfyUI reads it, which bytes it has, and where they come from, in order."""

    directory: SafePath
    name: SafePath
    size: Annotated[int, Field(ge=0)] | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    groups: tuple[str, ...] = ()
    sources: Annotated[tuple[Source, ...], Field(min_length=1)]

    @property
    def path(self) -> str:
        """Where the file lies below `models/`, for example `checkpoints/a.safetensors`."""
        return f"{self.directory}/{self.name}"


class Lock(_Strict):
    """A whole models.lock.json."""

    version: Literal[1]
    models: tuple[Entry, ...]

    @model_validator(mode="after")
    def _one_entry_per_path(self) -> "Lock":
        # Two names that differ in case alone are one file on some volumes.
        seen: set[str] = set()
        for entry in self.models:
            if entry.path.lower() in seen:
                raise ValueError(f"{entry.path} is listed twice")
            seen.add(entry.path.lower())
        return self

    @property
    def groups(self) -> list[str]:
        """Every group that an entry is in, sorted."""
        return sorted({group for entry in self.models for group in entry.groups})

    def choose(self, groups: tuple[str, ...]) -> tuple[Entry, ...]:
        """The entries of `groups`; of `default`, or all if no entry has groups, when `groups` is empty.

        Raises UnknownGroup.
        """
        for group in groups:
            if group not in self.groups:
                raise UnknownGroup(group, self.groups)
        if not groups and not self.groups:
            return self.models
        wanted = set(groups or (DEFAULT_GROUP,))
        return tuple(entry for entry in self.models if wanted.intersection(entry.groups))


def load(file: Path) -> Lock:
    """Reads and checks a lock. Raises InvalidLock, naming file, entry and field."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InvalidLock(str(file), ["the file does not exist; name another with COMFYPORT_LOCK or --lock"]) from None
    except OSError as error:
        raise InvalidLock(str(file), [f"it cannot be read: {os.strerror(error.errno or 0)}"]) from None
    except ValueError as error:
        raise InvalidLock(str(file), [f"it is not JSON: {error}"]) from None
    try:
        return Lock.model_validate(document)
    except ValidationError as error:
        raise InvalidLock(str(file), [_problem(problem, document) for problem in error.errors()]) from None


def _problem(problem: Any, document: Any) -> str:
    """One line for one problem: the entry by its name where it has one, then the field and what is wrong."""
    place = list(problem["loc"])
    where = ""
    if len(place) > 1 and place[0] == "models" and isinstance(place[1], int):
        entry = document["models"][place[1]]
        name = entry.get("name") if isinstance(entry, dict) else None
        where = f"models[{place[1]}]" + (f" ({name})" if name else "")
        place = place[2:]
    field = ".".join(str(part) for part in place)
    reason = problem["msg"].removeprefix("Value error, ")
    return ": ".join(part for part in (where, field, reason) if part)
