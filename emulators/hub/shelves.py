"""What stands on the shelves: repositories of the Hub, model versions of Civitai."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from emulators.hub.content import BytesContent, Content, as_content

DEFAULT_REVISION = "0123456789abcdef0123456789abcdef01234567"

LFS_FROM = 10 * 1024 * 1024
"""The Hub refuses larger files outside Git LFS."""

LFS_SUFFIXES = frozenset(
    {".bin", ".ckpt", ".gguf", ".gz", ".h5", ".msgpack", ".npz", ".onnx", ".pb", ".pickle", ".pkl", ".pt"}
    | {".pth", ".safetensors", ".tar", ".tflite", ".tgz", ".zip", ".zst"}
)
"""From the `.gitattributes` that the Hub puts into a new repository."""


@dataclass(frozen=True)
class Repo:
    """A model repository with one commit, `revision` (40 hex digits).

    `gated`: its files need a known token. `private`: so does everything else about it. `readers` names the
    tokens that were let in; None lets in every known one.
    """

    files: Mapping[str, bytes | Path | Content]
    revision: str = DEFAULT_REVISION
    gated: bool = False
    private: bool = False
    readers: frozenset[str] | None = None
    names: frozenset[str] = frozenset({"main"})
    """Branches and tags that stand for the commit."""

    @cached_property
    def entries(self) -> dict[str, "Entry"]:
        """The files by their path."""
        return {path: Entry(path, as_content(value)) for path, value in self.files.items()}

    def has_revision(self, revision: str) -> bool:
        """Whether a name or an id stands for the commit; the Hub takes short ids too."""
        return revision in self.names or (len(revision) >= 7 and self.revision.startswith(revision))

    def lets_in(self, token: str | None) -> bool:
        """Whether this (known) token may read what is gated or private."""
        return token is not None and (self.readers is None or token in self.readers)


@dataclass(frozen=True)
class Entry:
    """One file of a repository."""

    path: str
    content: Content

    @property
    def is_lfs(self) -> bool:
        """Whether git holds only a pointer to it."""
        return PurePosixPath(self.path).suffix.lower() in LFS_SUFFIXES or self.content.size > LFS_FROM

    @cached_property
    def pointer(self) -> Content:
        """What git holds of an LFS file (git-lfs specification, version 1)."""
        lines = f"oid sha256:{self.content.sha256}\nsize {self.content.size}\n"
        return BytesContent(f"version https://git-lfs.github.com/spec/v1\n{lines}".encode())

    @property
    def blob_id(self) -> str:
        """git's id: of the pointer for LFS files, else of the bytes."""
        return self.pointer.git_blob_id if self.is_lfs else self.content.git_blob_id


@dataclass(frozen=True)
class CivitaiFile:
    """One file of a model version."""

    id: int
    name: str
    data: bytes | Path | Content
    primary: bool = False
    pruning: str | None = None
    """`full` or `pruned`, where the creator says it."""
    precision: str | None = None
    """Such as `fp16`."""

    @cached_property
    def content(self) -> Content:
        """Its bytes."""
        return as_content(self.data)


@dataclass(frozen=True)
class CivitaiVersion:
    """A model version; with `needs_login` its files are for known tokens only.

    `usage` other than `Download` marks a version that Civitai runs for people and hands to nobody.
    """

    files: Sequence[CivitaiFile]
    name: str = "v1.0"
    model: str = "Emulated model"
    model_id: int = 1
    model_type: str = "Checkpoint"
    base_model: str = "SD 1.5"
    needs_login: bool = True
    trained_words: Sequence[str] = field(default_factory=tuple)
    usage: str = "Download"

    def file(self, file_id: int | None) -> CivitaiFile | None:
        """The file of that id; without an id the primary one, or else the first."""
        if file_id is not None:
            return next((file for file in self.files if file.id == file_id), None)
        return next((file for file in self.files if file.primary), self.files[0])
