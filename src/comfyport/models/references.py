"""What people call a model, an address most often, becomes the file that it means on the Hub, on Civitai or elsewhere.

Nothing is asked of a site here; `resolve.py` does that.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from pydantic import ValidationError

from comfyport.errors import UnusableReference
from comfyport.models.access import Access
from comfyport.models.lock import HuggingFaceSource, UrlSource
from comfyport.models.sources import CIVITAI_ORIGINS, origin

# The Hub under its other names; a mirror has the same repositories at the same commits.
_HUB_HOSTS = frozenset({"huggingface.co", "www.huggingface.co", "hf.co", "hf-mirror.com"})
_CIVITAI_HOSTS = frozenset(urlsplit(site).hostname for site in CIVITAI_ORIGINS) | {"www.civitai.com"}
# /owner/name/resolve/<revision>/<file>; a pull request's revision has slashes (huggingface_hub, hf_file_system.py).
_HUB_FILE = re.compile(
    r"/(?P<repo>[^/]+/[^/]+)/(?:resolve|blob|raw)/(?P<revision>refs/(?:pr|convert)/[^/]+|[^/]+)/(?P<file>.+)"
)
_HUB_SHORT = re.compile(r"hf://(?P<repo>[^/@]+/[^/@]+)(?:@(?P<revision>refs/(?:pr|convert)/[^/]+|[^/]+))?/(?P<file>.+)")
# https://developer.civitai.com/site/reference/model-versions: urn:air:sdxl:checkpoint:civitai:827184@2514310
_AIR = re.compile(r"(?:urn:)?(?:air:)?(?:[a-z0-9-]+:){0,2}civitai:(?P<model>\d+)(?:@(?P<version>\d+))?", re.IGNORECASE)
_CIVITAI_PAGE = re.compile(r"/models/(?P<model>\d+)(/.*)?")
_CIVITAI_VERSION = re.compile(r"(/api/download/models|/api/v1/model-versions|/model-versions)/(?P<version>\d+)/?")
# What a download address of Civitai chooses among a version's files by.
_TRAITS = ("type", "format", "size", "fp")


@dataclass(frozen=True)
class CivitaiReference:
    """A file on Civitai: of a version, of a model's newest version, or that with a `sha256`, wherever it is.

    Without `file_id` it is the version's primary file, or the one that has all `traits` (type, format, size, fp).
    """

    version_id: int | None = None
    model_id: int | None = None
    file_id: int | None = None
    traits: Mapping[str, str] = field(default_factory=dict)
    sha256: str = ""

    @property
    def shown(self) -> str:
        """What people call it."""
        if self.sha256:
            return f"a file with the sha256 {self.sha256}"
        return f"civitai version {self.version_id}" if self.version_id else f"civitai model {self.model_id}"


Reference = HuggingFaceSource | CivitaiReference | UrlSource


def read(text: str, access: Access) -> Reference:
    """What an address means, whichever of a site's own forms it has: page, file view, download, `hf://`, AIR.

    Addresses of `access`'s own endpoints count as the Hub's and Civitai's. Raises UnusableReference.
    """
    address = text.strip()
    try:
        if short := _HUB_SHORT.fullmatch(address):
            return hugging_face(short["repo"], short["file"], short["revision"] or "main")
        if air := _AIR.fullmatch(address):
            return CivitaiReference(_number(air["version"]), _number(air["model"]))
        parts = urlsplit(address)
        return _on_hub(parts, access) or _on_civitai(parts, access) or UrlSource(type="url", url=address)
    except ValidationError as error:
        raise _unusable(shown(address), error) from None
    except ValueError as error:
        raise UnusableReference(shown(address), str(error)) from None


def hugging_face(repo: str, file: str, revision: str = "main") -> HuggingFaceSource:
    """A file on the Hub, by its repository and path. Raises pydantic's ValidationError, which is a ValueError."""
    return HuggingFaceSource(type="huggingface", repo=repo, revision=revision, file=file)


def on_hub(repo: str, file: str, revision: str) -> HuggingFaceSource:
    """A file on the Hub, as `hugging_face` has it. Raises UnusableReference, which says what cannot be."""
    try:
        return hugging_face(repo, file, revision)
    except ValidationError as error:
        raise _unusable(f"{repo}/{file}", error) from None


def elsewhere(url: str, auth: str) -> UrlSource:
    """A file at an address, whatever site that is; `auth` is env:NAME. Raises UnusableReference."""
    try:
        return UrlSource(type="url", url=url, auth=auth)
    except ValidationError as error:
        raise _unusable(shown(url), error) from None


def shown(address: str) -> str:
    """An address without what may be a secret: user name, password, query."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return address.split("?")[0]
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _unusable(what: str, error: ValidationError) -> UnusableReference:
    first = error.errors()[0]
    reason = first["msg"].removeprefix("Value error, ")
    return UnusableReference(what, f"its {first['loc'][-1]} {reason[:1].lower()}{reason[1:]}")


def _on_hub(parts: SplitResult, access: Access) -> Reference | None:
    if parts.hostname not in _HUB_HOSTS and not _is_below(parts, access.hf_endpoint):
        return None
    path = unquote(parts.path.removeprefix(urlsplit(access.hf_endpoint).path))
    if found := _HUB_FILE.fullmatch(path):
        return hugging_face(found["repo"], found["file"], found["revision"])
    if path.startswith(("/datasets/", "/spaces/")) and "/resolve/" in path:
        return None
    # A mirror may serve other things beside the Hub's.
    if parts.hostname not in _HUB_HOSTS:
        return None
    raise ValueError("it is a page of the Hub and no file; open the file there and copy its address")


def _on_civitai(parts: SplitResult, access: Access) -> Reference | None:
    if parts.hostname not in _CIVITAI_HOSTS and not _is_below(parts, access.civitai_endpoint):
        return None
    path = parts.path.removeprefix(urlsplit(access.civitai_endpoint).path)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    file_id = _number(query.get("fileId"))
    if found := _CIVITAI_VERSION.fullmatch(path):
        traits = {name: query[name] for name in _TRAITS if name in query}
        return CivitaiReference(_number(found["version"]), file_id=file_id, traits=traits)
    if found := _CIVITAI_PAGE.fullmatch(path):
        return CivitaiReference(_number(query.get("modelVersionId")), _number(found["model"]), file_id)
    if parts.hostname not in _CIVITAI_HOSTS:
        return None
    raise ValueError("it is no page of a model on Civitai")


def _is_below(parts: SplitResult, endpoint: str) -> bool:
    return origin(parts.geturl()) == origin(endpoint) and parts.path.startswith(f"{urlsplit(endpoint).path}/")


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and int(text) > 0 else None
