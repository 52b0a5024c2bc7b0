"""What a model version on Civitai holds: each file's id, name, size and sha256.

`GET /api/v1/model-versions/{id}`, `/api/v1/model-versions/by-hash/{sha256}` and `/api/v1/models/{id}`
(https://developer.civitai.com/site/reference). Sizes are told in KiB with fractions, which give whole bytes; SHA256 in
upper case.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from comfyport.errors import ModelNotFound, ModelRefused, SourceFailed
from comfyport.models.access import Access
from comfyport.models.metadata import BACKOFF, Wait, ask
from comfyport.models.references import CivitaiReference
from comfyport.models.sources import CIVITAI, CIVITAI_ORIGINS, Request, header_token, origin

_SHA256 = re.compile(r"[0-9a-f]{64}")
_LISTED = 5
# Civitai's kinds of models -> ComfyUI's folders.
_DIRECTORIES = {
    "Checkpoint": "checkpoints",
    "LORA": "loras",
    "LoCon": "loras",
    "DoRA": "loras",
    "TextualInversion": "embeddings",
    "Hypernetwork": "hypernetworks",
    "Controlnet": "controlnet",
    "VAE": "vae",
    "Upscaler": "upscale_models",
}


class _Hashes(BaseModel):
    SHA256: str | None = None


class _File(BaseModel):
    id: int
    name: str
    type: str | None = None
    sizeKB: float | None = None  # noqa: N815 - Civitai's own word
    metadata: dict[str, Any] | None = None
    hashes: _Hashes | None = None
    primary: bool | None = None

    @property
    def sha256(self) -> str | None:
        digest = ((self.hashes and self.hashes.SHA256) or "").lower()
        return digest if _SHA256.fullmatch(digest) else None

    @property
    def traits(self) -> dict[str, str]:
        told = {**(self.metadata or {}), "type": self.type}
        return {name: str(value) for name, value in told.items() if value}


class _Kind(BaseModel):
    type: str = ""


class _Version(BaseModel):
    id: int
    files: list[_File]
    model: _Kind | None = None
    usageControl: str | None = None  # noqa: N815 - Civitai's own word


class _Listed(BaseModel):
    id: int
    files: list[Any] = []


class _Model(BaseModel):
    modelVersions: list[_Listed]  # noqa: N815 - Civitai's own word


_Told = TypeVar("_Told", bound=BaseModel)


@dataclass(frozen=True)
class CivitaiFile:
    """One file of a version; `traits` are what download addresses choose by (type, format, size, fp)."""

    id: int
    name: str
    size: int | None
    sha256: str | None
    is_primary: bool
    traits: Mapping[str, str]


@dataclass(frozen=True)
class Version:
    """A model version; `directory` is the folder that its kind belongs to, empty where ComfyUI has none for it."""

    id: int
    files: tuple[CivitaiFile, ...]
    directory: str

    def file(self, reference: CivitaiReference) -> CivitaiFile:
        """The file that a reference means. Raises ModelNotFound, which lists what there is."""
        if reference.file_id is not None:
            found = next((file for file in self.files if file.id == reference.file_id), None)
        elif reference.sha256:
            found = next((file for file in self.files if file.sha256 == reference.sha256), None)
        else:
            found = max(self.files, key=lambda file: _fitness(file, reference.traits), default=None)
        if found is None:
            listed = ", ".join(f"{file.id} ({file.name})" for file in self.files[:_LISTED]) or "none"
            what = f"file {reference.file_id}" if reference.file_id else "the file"
            raise ModelNotFound(what, f"the version's files are: {listed}", source=reference.shown)
        return found


def version(reference: CivitaiReference, access: Access, *, wait: Wait = BACKOFF) -> Version:
    """A version, by its id, by the sha256 of one of its files, or a model's newest one that has files.

    Raises ModelNotFound, ModelRefused, SourceFailed or InvalidSetting.
    """
    key = f"by-hash/{reference.sha256}" if reference.sha256 else reference.version_id
    told = _told(
        _Version, f"/api/v1/model-versions/{key or _newest(reference, access, wait)}", reference.shown, access, wait
    )
    what = f"civitai version {told.id}"
    if told.usageControl not in (None, "Download"):
        reason = "its creator lets it be used on Civitai only, and not downloaded"
        raise ModelRefused(what, reason, source=access.civitai_endpoint)
    files = tuple(
        CivitaiFile(file.id, file.name, _bytes(file.sizeKB), file.sha256, file.primary or False, file.traits)
        for file in told.files
    )
    return Version(told.id, files, _DIRECTORIES.get(told.model.type, "") if told.model else "")


def _newest(reference: CivitaiReference, access: Access, wait: Wait) -> int:
    told = _told(_Model, f"/api/v1/models/{reference.model_id}", reference.shown, access, wait)
    for each in told.modelVersions:
        if each.files:
            return each.id
    raise ModelNotFound(reference.shown, "it has no version with files", source=access.civitai_endpoint)


def _told(kind: type[_Told], path: str, what: str, access: Access, wait: Wait) -> _Told:
    url = f"{access.civitai_endpoint}{path}"
    origins = frozenset({origin(url)})
    if CIVITAI in origins:
        origins |= CIVITAI_ORIGINS
    token = header_token("CIVITAI_TOKEN", access.civitai_token)
    answer = ask(Request(url, token, "CIVITAI_TOKEN", origins), what, wait=wait)
    if answer.status == 404:
        raise ModelNotFound(what, "it was removed, or never there: look for its page", source=access.civitai_endpoint)
    if answer.status in (401, 403):
        hint = "check the one that is set" if token else "set it to a key of your account there"
        raise ModelRefused(what, f"it asks for CIVITAI_TOKEN; {hint}", source=access.civitai_endpoint)
    if answer.status != 200:
        raise SourceFailed(what, f"it answered {answer.status}.", source=access.civitai_endpoint)
    try:
        return kind.model_validate(answer.content)
    except ValidationError:
        raise SourceFailed(what, "its answer does not tell the files.", source=access.civitai_endpoint) from None


def _bytes(kib: float | None) -> int | None:
    """Whole bytes; None for a number that was rounded, since a size is held against the file to the byte."""
    size = -1.0 if kib is None else kib * 1024
    return int(size) if size >= 0 and size.is_integer() else None


def _fitness(file: CivitaiFile, wanted: Mapping[str, str]) -> tuple[int, bool]:
    """How many of the wanted traits a file has; among equals the primary one is meant."""
    agreed = sum(file.traits.get(name, "").casefold() == value.casefold() for name, value in wanted.items())
    return agreed, file.is_primary
