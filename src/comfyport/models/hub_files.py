"""What a repository on the Hugging Face Hub holds at a revision: the commit, and each file's size and sha256.

`GET /api/models/{repo}/revision/{revision}?blobs=true`, as huggingface_hub's `model_info(files_metadata=True)` asks
it. The list of a gated repository is public; its files are not. Files outside Git LFS and Xet, which are small, have
no sha256 there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any
from urllib.parse import quote

from pydantic import BaseModel, Field, ValidationError

from comfyport.errors import ModelNotFound, ModelRefused, SourceFailed
from comfyport.models.access import Access
from comfyport.models.lock import HuggingFaceSource
from comfyport.models.metadata import BACKOFF, Answer, Wait, ask
from comfyport.models.sources import Request, header_token, origin

_SUGGESTIONS = 3


class _Stored(BaseModel):
    """What Git LFS or Xet holds in place of a large file."""

    size: int
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Sibling(BaseModel):
    rfilename: str
    size: int | None = None
    lfs: _Stored | None = None

    @property
    def stored_size(self) -> int | None:
        return self.lfs.size if self.lfs else self.size

    @property
    def sha256(self) -> str | None:
        return self.lfs.sha256 if self.lfs else None


class _Model(BaseModel):
    # The new name, if the repository was renamed.
    id: str
    sha: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
    siblings: list[_Sibling]
    gated: bool | str = False


@dataclass(frozen=True)
class HubFile:
    """One file: `size` in bytes, `sha256` where the Hub knows it."""

    size: int | None
    sha256: str | None


@dataclass(frozen=True)
class Repository:
    """A repository at one commit; `gated` ones give their files to those only who accepted their terms."""

    name: str
    commit: str
    files: Mapping[str, HubFile]
    gated: bool

    def file(self, path: str) -> HubFile:
        """The file at a path. Raises ModelNotFound, which names files that may be meant."""
        if path in self.files:
            return self.files[path]
        name = PurePosixPath(path).name.casefold()
        alike = sorted(found for found in self.files if PurePosixPath(found).name.casefold() == name)
        listed = ", ".join(alike[:_SUGGESTIONS]) or "list its files on its page, and correct the path"
        hint = f"it has {listed}" if alike else listed
        raise ModelNotFound(path, f"the repository has no such file at {self.commit[:7]}; {hint}", source=self.name)


def repository(repo: str, revision: str, access: Access, *, wait: Wait = BACKOFF) -> Repository:
    """A repository at a branch, a tag or a commit. Raises ModelNotFound, ModelRefused, SourceFailed, InvalidSetting."""
    url = f"{access.hf_endpoint}/api/models/{repo}/revision/{quote(revision, safe='')}?blobs=true"
    token = header_token("HF_TOKEN", access.hf_token)
    request = Request(url, token, "HF_TOKEN", frozenset({origin(url)}))
    answer = ask(request, repo, wait=wait)
    if answer.status != 200:
        raise _refusal(answer, repo, revision, request)
    return _read(answer.content, repo, request)


def page(source: HuggingFaceSource) -> str:
    """Where a person accepts the terms of a gated repository."""
    return f"https://huggingface.co/{source.repo}"


def _refusal(answer: Answer, repo: str, revision: str, request: Request) -> Exception:
    if answer.code == "GatedRepo":
        reason = f"it is gated: accept its terms on its page, and set HF_TOKEN ({_state(request)})"
        return ModelRefused(repo, reason, source=request.shown)
    if answer.code == "RevisionNotFound":
        return ModelNotFound(repo, f"it has no branch, tag or commit {revision}", source=request.shown)
    if answer.code == "RepoNotFound" or answer.status in (401, 403, 404):
        # To somebody who may not see it, a private repository looks like a missing one.
        reason = f"there is no such repository, or it is private: check its name, and HF_TOKEN ({_state(request)})"
        return ModelNotFound(repo, reason, source=request.shown)
    return SourceFailed(repo, f"it answered {answer.status}.", source=request.shown)


def _state(request: Request) -> str:
    return "it is set, to the token of somebody who may not" if request.token else "it is not set"


def _read(content: Any, repo: str, request: Request) -> Repository:
    try:
        told = _Model.model_validate(content)
    except ValidationError:
        reason = "its answer does not tell the commit and the files."
        raise SourceFailed(repo, reason, source=request.shown) from None
    files = {sibling.rfilename: HubFile(sibling.stored_size, sibling.sha256) for sibling in told.siblings}
    return Repository(told.id, told.sha, files, bool(told.gated))
