"""The format of models.lock.json: what to download, pinned.

    {"version": 1, "models": [{"directory": "checkpoints", "name": "a.safetensors", "size": 1, "sha256": "…",
     "groups": ["default"], "sources": [{"type": "huggingface", "repo": "o/r", "revision": "…", "file": "a"}]}]}

`directory` and `name` are ComfyUI's own words (a workflow's `properties.models`), so that entries paste both ways.
`schema.py` makes models.lock.schema.json, for editors, from the classes here.
"""

import difflib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from comfyport.errors import InvalidLock, NotLocked, UnknownGroup, UnknownModel
from comfyport.models.paths import RemotePath, SafePath, folded

DEFAULT_GROUP = "default"

_COMMIT = re.compile(r"[0-9a-f]{40}")
# What common hosts call a token, a key or a signature in a query: Civitai, S3, CloudFront, Google, Azure, GitHub.
_SECRET_NAME = re.compile(
    r".*(token|signature|credential|passw(or)?d|secret|api_?key|access_?key(_?id)?)"
    r"|key|key_pair_id|sig|auth|authorization|policy|jwt|googleaccessid",
    re.IGNORECASE,
)


def _plain_address(text: str) -> str:
    """`text`, if it is a web address that holds no secret. Raises ValueError."""
    if not text.startswith(("https://", "http://")) or any(character <= " " or character == "\\" for character in text):
        raise ValueError("must start with https:// or http:// and hold no space or backslash")
    parts = urlsplit(text)
    if "@" in parts.netloc:
        raise ValueError("must not contain a user name or password; name a variable with `auth` instead")
    if not parts.hostname:
        raise ValueError("must name a host")
    try:
        parts.hostname.encode("idna")
        parts.port  # noqa: B018 - reading it checks it
    except ValueError:
        raise ValueError("must name a host, and a port that is a number, or none") from None
    for name, _ in parse_qsl(f"{parts.query}&{parts.fragment}", keep_blank_values=True):
        if _SECRET_NAME.fullmatch(name.strip().replace("-", "_")):
            raise ValueError(
                f"must not carry a token or a signature ({name}=): leave it out and name the variable that holds "
                "the token with `auth`; an address that was signed for a time is no source"
            )
    return text


def _known_to_the_hub(text: str) -> str:
    if "--" in text or ".." in text or re.search(r"[.-](/|$)|\.git$", text):
        raise ValueError("is no name of a repository on the Hub")
    return text


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class HuggingFaceSource(_Strict):
    """A file in a repository on the Hugging Face Hub, at a commit. HF_TOKEN opens gated and private ones."""

    type: Literal["huggingface"]
    repo: Annotated[
        str,
        Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*/[A-Za-z0-9_][A-Za-z0-9_.-]*$", description="owner/name"),
        AfterValidator(_known_to_the_hub),
    ]
    revision: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9_+-]+([./][A-Za-z0-9_+-]+)*$",
            description="A commit, 40 hex digits. A branch or a tag works, but `--locked` refuses it.",
        ),
    ]
    file: Annotated[RemotePath, Field(description="The file's path in the repository.")]


class CivitaiSource(_Strict):
    """A file of a model version on Civitai. CIVITAI_TOKEN opens those that need a login."""

    type: Literal["civitai"]
    version_id: Annotated[int, Field(ge=1, description="`modelVersionId` in the page's address.")]
    file_id: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="One of the version's files; without it, the version's primary file."
    )


class UrlSource(_Strict):
    """A file at a plain address."""

    type: Literal["url"]
    url: Annotated[
        str,
        AfterValidator(_plain_address),
        Field(json_schema_extra={"pattern": "^https?://"}, description="Without a token, a password or a signature."),
    ]
    auth: Annotated[str, Field(pattern=r"^env:[A-Za-z_][A-Za-z0-9_]*$")] | None = Field(
        default=None, description="The environment variable that holds a bearer token, as env:NAME."
    )


Source = Annotated[HuggingFaceSource | CivitaiSource | UrlSource, Field(discriminator="type")]


class Archive(_Strict):
    """What becomes of an entry that is an archive: its files are unpacked below `models/`."""

    format: Literal["zip", "tar"] = Field(description="zip, or tar, compressed or not.")
    into: Annotated[SafePath, Field(description="The folder below models/ that its files go to.")]
    strip: Annotated[int, Field(ge=0)] = Field(
        default=0, description="Folders to drop from the beginning of each file's path."
    )


class Entry(_Strict):
    """One model file: where ComfyUI reads it, which bytes it has, and where they come from, in order."""

    directory: Annotated[SafePath, Field(description="The folder below models/, for example checkpoints.")]
    name: Annotated[SafePath, Field(description="The file's name in that folder, as workflows write it.")]
    size: Annotated[int, Field(ge=0)] | None = Field(default=None, description="In bytes.")
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = Field(
        default=None, description="64 lower hex digits. Without it, what comes first is recorded and checked later."
    )
    groups: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")], ...] = Field(
        default=(), description="What MODEL_GROUPS chooses from."
    )
    license: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        default=None, description="Its licence, for people: an SPDX id or a few words."
    )
    page: Annotated[str, AfterValidator(_plain_address), Field(json_schema_extra={"pattern": "^https?://"})] | None = (
        Field(default=None, description="Where people read about it, if that is not the first source's page.")
    )
    sources: Annotated[
        tuple[Source, ...], Field(min_length=1, description="Tried in order; all must give the same bytes.")
    ]
    archive: Archive | None = Field(default=None, description="If the file is to be unpacked.")

    @property
    def path(self) -> str:
        """Where the file lies below `models/`, for example `checkpoints/a.safetensors`.

        For an archive it is the name that its receipt goes by: only what it holds is kept.
        """
        return f"{self.directory}/{self.name}"


class Lock(_Strict):
    """The models that comfyport brings to a volume, pinned."""

    schema_file: str | None = Field(default=None, alias="$schema", description="For editors.")
    version: Literal[1]
    models: tuple[Entry, ...]

    @model_validator(mode="after")
    def _one_entry_per_path(self) -> "Lock":
        seen: set[str] = set()
        folders: dict[str, str] = {}
        for entry in self.models:
            path = folded(entry.path)
            if path in seen:
                raise ValueError(f"{entry.path} is listed twice")
            seen.add(path)
            parts = path.split("/")
            folders |= {"/".join(parts[:end]): entry.path for end in range(1, len(parts))}
        for path in seen.intersection(folders):
            raise ValueError(f"{folders[path]} lies in a folder that another entry names as its file")
        return self

    @property
    def groups(self) -> list[str]:
        """Every group that an entry is in, sorted."""
        return sorted({group for entry in self.models for group in entry.groups})

    def find(self, name: str) -> Entry:
        """The entry at this path, or the only one of this name; case does not count. Raises UnknownModel."""
        wanted = folded(name)
        found = [entry for entry in self.models if wanted in (folded(entry.path), folded(entry.name))]
        exact = [entry for entry in found if folded(entry.path) == wanted]
        if len(exact or found) == 1:
            return (exact or found)[0]
        if found:
            raise UnknownModel(name, f"there are {' and '.join(entry.path for entry in found)}; give the path")
        close = difflib.get_close_matches(name, [text for entry in self.models for text in (entry.path, entry.name)], 1)
        raise UnknownModel(name, f"did you mean {close[0]}" if close else "`comfyport models list` shows them")

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
    return parse(read(file), file)


def read(file: Path) -> str:
    """The text of a lock, its line ends as they are. Raises InvalidLock."""
    try:
        return file.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise InvalidLock(str(file), ["the file does not exist; name another with COMFYPORT_LOCK or --lock"]) from None
    except OSError as error:
        raise InvalidLock(str(file), [f"it cannot be read: {os.strerror(error.errno or 0)}"]) from None
    except ValueError as error:
        raise InvalidLock(str(file), [f"it is not JSON: {error}"]) from None


def parse(text: str, file: Path) -> Lock:
    """The lock that `text` is, the content of `file`. Raises InvalidLock."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise InvalidLock(str(file), [f"it is not JSON: {error}"]) from None
    except RecursionError:
        raise InvalidLock(str(file), ["it is nested too deeply"]) from None
    try:
        return Lock.model_validate(document)
    except ValidationError as error:
        problems = [_problem(problem, document) for problem in error.errors() if not _follows(problem)]
        raise InvalidLock(str(file), problems) from None


def require_locked(file: str, entries: Sequence[Entry]) -> None:
    """Refuses entries that leave open which bytes they are. Raises NotLocked, naming each and what it misses."""
    listed = [f"{entry.path} ({', '.join(gaps)})" for entry in entries if (gaps := left_open(entry))]
    if listed:
        raise NotLocked(file, listed)


def left_open(entry: Entry) -> list[str]:
    """What keeps an entry from saying which bytes it is, for people; empty if nothing does."""
    branches = [
        f"revision {source.revision!r} is no commit"
        for source in entry.sources
        if isinstance(source, HuggingFaceSource) and not _COMMIT.fullmatch(source.revision)
    ]
    unknown = [f"no {field}" for field in ("size", "sha256") if getattr(entry, field) is None]
    return unknown + branches


def _follows(problem: Any) -> bool:
    """Whether a list is called too short only because what is in it was refused, which is told already."""
    return problem["type"] == "too_short" and bool(problem["input"])


def _problem(problem: Any, document: Any) -> str:
    """One line for one problem: the entry by its name where it has one, then the field and what is wrong."""
    place = list(problem["loc"])
    where = ""
    if len(place) > 1 and place[0] == "models" and isinstance(place[1], int):
        entry = document["models"][place[1]]
        name = entry.get("name") if isinstance(entry, dict) else None
        where = f"models[{place[1]}]" + (f" ({name})" if name else "")
        place = place[2:]
    if place[:1] == ["sources"] and len(place) > 2:
        # Which kind of source it is stands in the lock, and is no field.
        del place[2]
    field = ".".join(str(part) for part in place)
    reason = problem["msg"].removeprefix("Value error, ")
    return ": ".join(part for part in (where, field, reason) if part)
