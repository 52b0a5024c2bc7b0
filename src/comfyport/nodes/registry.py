"""ComfyUI's registry of custom nodes: which archive a version is, and bringing it to a folder.

The API is documented at https://docs.comfy.org/registry/api-reference: `GET /nodes/{id}/install?version=…` answers with
`version` and `downloadUrl`, the address of a ZIP with the node's files at its top.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import requests
from tenacity import RetryCallState, retry, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from comfyport.errors import NodeFetchFailed, UnknownNode
from comfyport.nodes.lock import RegistrySource
from comfyport.nodes.unpack import ArchiveRefused, unpack

MAX_BYTES = 1 << 30
TIMEOUT_SECONDS = (10, 60)
ATTEMPTS = 4
BACKOFF = wait_exponential_jitter(initial=1, max=20)
# The registry's words for a version that it has taken back.
_WITHDRAWN = ("NodeVersionStatusBanned", "NodeVersionStatusDeleted")

Wait = Callable[[RetryCallState], float]


@dataclass(frozen=True)
class Release:
    """A version of a node, and where its archive lies now."""

    id: str
    version: str
    url: str


class Registry:
    """The registry at `endpoint`; `wait` says how long before a broken request is made again."""

    def __init__(self, endpoint: str, *, wait: Wait = BACKOFF) -> None:
        self.endpoint = endpoint
        self._session = requests.Session()
        self._retrying = retry(
            retry=retry_if_exception(_passing), stop=stop_after_attempt(ATTEMPTS), wait=wait, reraise=True
        )

    def find(self, node_id: str, version: str | None = None) -> Release:
        """A version, the newest if none is named. Raises UnknownNode or NodeFetchFailed."""
        asked = f"{self.endpoint}/nodes/{quote(node_id, safe='')}/install"
        label = f"{node_id}@{version}" if version else node_id
        try:
            answer = self._retrying(self._get)(asked, params={"version": version} if version else None)
            if answer.status_code == 404:
                raise UnknownNode(f"The registry {self.endpoint} has no {label}.", node=node_id, version=version)
            answer.raise_for_status()
            release = self._read(answer.json(), node_id)
        except (requests.RequestException, ValueError, KeyError, TypeError) as error:
            raise NodeFetchFailed(label, _reason(error), source=self.endpoint) from None
        if version and release.version != version:
            raise NodeFetchFailed(label, f"it answered with version {release.version}", source=self.endpoint)
        return release

    def fetch(self, name: str, source: RegistrySource, tree: Path) -> None:
        """Brings a version to the new folder `tree`. Raises NodeFetchFailed."""
        archive = tree.with_name(f"{tree.name}.zip")
        try:
            digest = self.download(self.find(source.id, source.version), archive)
        except UnknownNode as error:
            raise NodeFetchFailed(name, error.message, source=self.endpoint) from None
        if source.sha256 not in (None, digest):
            reason = f"the archive of {source.version} has the sha256 {digest}, the lock says {source.sha256}"
            raise NodeFetchFailed(name, reason, source=self.endpoint)
        try:
            unpack(archive, tree)
        except ArchiveRefused as error:
            raise NodeFetchFailed(name, f"the archive was not unpacked: {error}", source=self.endpoint) from None
        archive.unlink()

    def download(self, release: Release, file: Path) -> str:
        """Writes a release's archive to `file`; its sha256. Raises NodeFetchFailed."""
        try:
            return self._retrying(self._download)(release.url, file)
        except (requests.RequestException, ValueError) as error:
            host = urlsplit(release.url).hostname or self.endpoint
            raise NodeFetchFailed(release.id, _reason(error), source=host) from None

    def _read(self, content: Any, node_id: str) -> Release:
        url, version = content["downloadUrl"], content["version"]
        if content.get("status") in _WITHDRAWN:
            raise ValueError(f"version {version} was withdrawn")
        # A registry on loopback or of one's own may speak http; the public one leads to https only.
        allowed = ("https", urlsplit(self.endpoint).scheme)
        if not isinstance(url, str) or urlsplit(url).scheme not in allowed:
            raise ValueError(f"version {version} has no address to download from")
        return Release(node_id, str(version), url)

    def _get(self, url: str, **options: Any) -> requests.Response:
        answer = self._session.get(url, timeout=TIMEOUT_SECONDS, **options)
        if answer.status_code >= 500 or answer.status_code == 429:
            answer.raise_for_status()
        return answer

    def _download(self, url: str, file: Path) -> str:
        digest, size = hashlib.sha256(), 0
        with self._get(url, stream=True) as answer, file.open("wb") as part:
            answer.raise_for_status()
            for block in answer.iter_content(1 << 20):
                size += len(block)
                if size > MAX_BYTES:
                    raise ValueError(f"the archive has more than {MAX_BYTES / 1e6:.0f} MB")
                digest.update(block)
                part.write(block)
        return digest.hexdigest()


def _passing(error: BaseException) -> bool:
    if isinstance(error, requests.HTTPError):
        return error.response.status_code >= 500 or error.response.status_code == 429
    return isinstance(error, requests.ConnectionError | requests.Timeout | requests.exceptions.ChunkedEncodingError)


def _reason(error: Exception) -> str:
    """One line, without the query of an address, which may be a signature."""
    if isinstance(error, KeyError):
        return f"its answer has no {error.args[0]}"
    return re.sub(r"\?\S+", "", " ".join(str(error).split()))[:400]
