"""Each wanted model becomes a pinned entry, looked up or known by its name, or an answer why not."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from comfyport.comfyui.needs import ModelFile
from comfyport.errors import ComfyportError, InvalidSetting, ModelError, ModelNotFound, UnusableReference
from comfyport.intake.wanted import Wanted
from comfyport.models import references
from comfyport.models.access import Access
from comfyport.models.lock import CivitaiSource, Entry, HuggingFaceSource, Source, UrlSource
from comfyport.models.paths import folded
from comfyport.models.references import CivitaiReference, Reference
from comfyport.models.resolve import Found, Resolver

# Each asks a site one small question; more at a time would only be told to wait.
_AT_ONCE = 8
IN_THE_LOCK = "in the lock already"

# ComfyUI's folders (folder_paths.py, v0.3.64, and what its templates name since). Many repositories are laid out so.
_FOLDERS = frozenset(
    {"audio_encoders", "checkpoints", "clip", "clip_vision", "controlnet", "diffusion_models", "embeddings", "gligen"}
    | {"hypernetworks", "latent_upscale_models", "loras", "model_patches", "photomaker", "style_models"}
    | {"text_encoders", "unet", "upscale_models", "vae", "vae_approx"}
)


@dataclass(frozen=True)
class Settled:
    """A wanted model and its entry; `remark` is what its download needs besides, or how it was found."""

    wanted: Wanted
    entry: Entry
    remark: str = ""


@dataclass(frozen=True)
class Unresolved:
    """A wanted model that nothing was found for: why, and what to do."""

    wanted: Wanted
    reason: str
    advice: str


class Clerk:
    """Settles wanted models.

    `locked` are the entries of the lock that they are for: what it has pinned stays as it is, and is not looked up
    again. `known` are others that a name alone is looked for in.
    """

    def __init__(self, access: Access, resolver: Resolver, *, locked: Sequence[Entry], known: Sequence[Entry]) -> None:
        self._access = access
        self._resolver = resolver
        self._locked = {folded(entry.path): entry for entry in locked}
        self._known = (*locked, *known)

    def settle(self, wanted: Iterable[Wanted]) -> list[Settled | Unresolved]:
        """The answers, in the order of the questions. Raises InvalidSetting, such as for a token that cannot be one."""
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="import") as threads:
            return list(threads.map(self._settle, wanted))

    def _settle(self, wanted: Wanted) -> Settled | Unresolved:
        problems: list[str] = []
        for address in wanted.addresses:
            try:
                reference = references.read(address, self._access)
                if entry := self._pinned(wanted, reference):
                    return Settled(wanted, entry, IN_THE_LOCK)
                found = self._resolver.resolve(reference)
                return Settled(wanted, _entry(wanted, found, address), found.remark)
            except InvalidSetting:
                raise
            except ComfyportError as error:
                problems.append(error.message)
        if entry := self._of_that_name(wanted):
            how = IN_THE_LOCK if folded(entry.path) in self._locked else "known by its name"
            return Settled(wanted, entry, f"{how}; {' '.join(problems)}" if problems else how)
        try:
            if entry := self._of_that_digest(wanted):
                return Settled(wanted, entry, "found on Civitai by its sha256")
        except (ModelError, UnusableReference) as error:
            problems.append(error.message)
        return Unresolved(wanted, " ".join(problems) or "nothing says where it comes from", _advice(wanted))

    def _of_that_digest(self, wanted: Wanted) -> Entry | None:
        """The entry for the file on Civitai that has the sha256 that is asked for, if one has."""
        if not wanted.sha256:
            return None
        reference = CivitaiReference(sha256=wanted.sha256)
        try:
            return _entry(wanted, self._resolver.resolve(reference), reference.shown)
        except ModelNotFound:
            return None

    def _pinned(self, wanted: Wanted, reference: Reference) -> Entry | None:
        """The lock's entry, if it has this very file at the wanted path already."""
        entry = self._locked.get(folded(f"{wanted.directory}/{wanted.name}"))
        if entry is None or (wanted.sha256 and entry.sha256 != wanted.sha256):
            return None
        return entry if any(_is_of(source, reference) for source in entry.sources) else None

    def _of_that_name(self, wanted: Wanted) -> Entry | None:
        """The known entry that a loader would find under the wanted name."""
        asked = ModelFile(wanted.directory, wanted.name)
        for entry in self._known:
            in_place = not wanted.directory or asked.lies_in(entry.directory) or entry.directory == wanted.directory
            is_same = not (wanted.sha256 and entry.sha256) or wanted.sha256 == entry.sha256
            if wanted.name and in_place and is_same and asked.is_meant_by(entry.directory, entry.name):
                return entry
        return None


def _is_of(source: Source, reference: Reference) -> bool:
    """Whether a source is the file that a reference means, at whatever commit."""
    match source, reference:
        case HuggingFaceSource(), HuggingFaceSource():
            return (source.repo, source.file) == (reference.repo, reference.file)
        case CivitaiSource(), CivitaiReference(version_id=version_id, file_id=file_id):
            return source.version_id == version_id and file_id in (None, source.file_id)
        case UrlSource(), UrlSource():
            return source.url == reference.url
    return False


def _entry(wanted: Wanted, found: Found, address: str) -> Entry:
    """The entry for what was found, under the wanted name. Raises UnusableReference if it has other bytes."""
    for what, asked, told in (("sha256", wanted.sha256, found.sha256), ("size", wanted.size, found.size)):
        if asked is not None and told is not None and asked != told:
            reason = f"the file there has the {what} {told}, and {asked} is asked for"
            raise UnusableReference(references.shown(address), reason)
    whole = replace(found, sha256=found.sha256 or wanted.sha256, size=wanted.size if found.size is None else found.size)
    return whole.entry(wanted.directory or found.directory or _folder_on_hub(found.source), wanted.name)


def _folder_on_hub(source: Source) -> str:
    """The folder of a repository that is called as one of ComfyUI's, if the file lies in one."""
    parts = source.file.split("/")[:-1] if isinstance(source, HuggingFaceSource) else []
    return next((part for part in reversed(parts) if part in _FOLDERS), "")


def _advice(wanted: Wanted) -> str:
    # A prompt names an embedding without the end of its file's name.
    is_whole = "." in wanted.name
    name = f" --name {wanted.name}" if is_whole else ""
    folder = wanted.directory or "FOLDER"
    return (
        f"`comfyport models add url ADDRESS --directory {folder}{name}` (or `add hf`, `add civitai`), "
        f"or put it on the volume as models/{folder}/{wanted.name if is_whole else 'NAME'}"
    )
