"""What a person or a workflow names becomes a pinned source with its size and sha256: metadata only, no download.

    found = Resolver(access).resolve(references.read("https://huggingface.co/o/r/resolve/main/a.safetensors", access))
    entry = found.entry("checkpoints")

A sha256 that a site does not tell stays empty: the first download records it.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import ValidationError
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

from comfyport.errors import SourceFailed, UnusableReference
from comfyport.models import civitai_files, hub_files
from comfyport.models.access import Access
from comfyport.models.lock import CivitaiSource, Entry, HuggingFaceSource, Source, UrlSource
from comfyport.models.metadata import ATTEMPTS, BACKOFF, SILENCE_SECONDS, Wait
from comfyport.models.probe import TryLater, Wanted, probe
from comfyport.models.references import CivitaiReference, Reference
from comfyport.models.sources import request_for
from comfyport.models.wire import Wire


@dataclass(frozen=True)
class Found:
    """A file that is pinned: where it comes from, its own name, its bytes (None where the site does not tell).

    `directory` is the folder that a site puts it into, empty if it has no say; `remark` is what its download needs
    besides, empty if nothing.
    """

    source: Source
    name: str
    size: int | None
    sha256: str | None
    directory: str = ""
    remark: str = ""

    def entry(self, directory: str = "", name: str = "", groups: Sequence[str] = ()) -> Entry:
        """The lock's entry for it, under the site's folder and its own name unless told otherwise.

        Raises UnusableReference if no folder is known, or a file cannot have that path.
        """
        folder, called = directory or self.directory, name or self.name
        if not folder:
            raise UnusableReference(called, "nothing tells the folder below models/ that it belongs to; name it")
        try:
            return Entry(
                directory=folder,
                name=called,
                size=self.size,
                sha256=self.sha256,
                groups=tuple(groups),
                sources=(self.source,),
            )
        except ValidationError as error:
            first = error.errors()[0]
            reason = f"its {first['loc'][0]} {first['msg'].removeprefix('Value error, ')}"
            raise UnusableReference(f"{folder}/{called}", reason) from None


class Resolver:
    """Looks references up; `wait` says how long before a broken request is made again. May be used by several threads.

    A repository or a version is asked for once, however many of its files are looked up.
    """

    def __init__(self, access: Access, *, wait: Wait = BACKOFF) -> None:
        self._access = access
        self._wait = wait
        self._lock = threading.Lock()
        self._answers: dict[Any, Future[Any]] = {}

    def resolve(self, reference: Reference | CivitaiSource) -> Found:
        """The pinned file; a source of a lock is looked up as it stands, its revision included.

        Raises ModelNotFound, ModelRefused, SourceFailed, UnusableReference, or InvalidSetting for a token or a proxy
        that cannot be one.
        """
        match reference:
            case HuggingFaceSource():
                return self._on_hub(reference)
            case CivitaiReference():
                return self._on_civitai(reference)
            case CivitaiSource(version_id=version_id, file_id=file_id):
                return self._on_civitai(CivitaiReference(version_id, file_id=file_id))
            case UrlSource():
                return self._elsewhere(reference)

    def _on_hub(self, asked: HuggingFaceSource) -> Found:
        repository = self._once(
            (asked.repo, asked.revision),
            lambda: hub_files.repository(asked.repo, asked.revision, self._access, wait=self._wait),
        )
        file = repository.file(asked.file)
        source = asked.model_copy(update={"repo": repository.name, "revision": repository.commit})
        path = PurePosixPath(asked.file)
        remark = ""
        if repository.gated:
            remark = f"gated: accept its terms at {hub_files.page(source)}, and set HF_TOKEN where it is downloaded"
        return Found(source, path.name, file.size, file.sha256, remark=remark)

    def _on_civitai(self, asked: CivitaiReference) -> Found:
        version = self._once(
            (asked.version_id, asked.model_id, asked.sha256),
            lambda: civitai_files.version(asked, self._access, wait=self._wait),
        )
        file = version.file(asked)
        source = CivitaiSource(type="civitai", version_id=version.id, file_id=file.id)
        return Found(source, file.name, file.size, file.sha256, version.directory)

    def _elsewhere(self, asked: UrlSource) -> Found:
        name = unquote(PurePosixPath(urlsplit(asked.url).path).name)
        if not name:
            raise UnusableReference(asked.url.split("?")[0], "the address does not end in a file's name")
        attempts = Retrying(
            retry=retry_if_exception_type(TryLater), stop=stop_after_attempt(ATTEMPTS), wait=self._wait, reraise=True
        )
        try:
            request = request_for(asked, self._access)
            with closing(Wire(SILENCE_SECONDS)) as wire:
                remote = attempts(probe, request, Wanted(name, None, None), wire)
        except TryLater as error:
            raise SourceFailed(name, f"{error.reason}. Try again later.", source=asked.url.split("?")[0]) from None
        except ValueError:
            raise UnusableReference(asked.url.split("?")[0], "it is no http address") from None
        return Found(asked, name, remote.size, None)

    def _once(self, key: Any, ask: Callable[[], Any]) -> Any:
        """What `ask` gives, asked by the first thread that needs it; the others wait for its answer or its error."""
        with self._lock:
            first = key not in self._answers
            answer = self._answers.setdefault(key, Future())
        if first:
            try:
                answer.set_result(ask())
            except Exception as error:  # noqa: BLE001 - every thread that waits has to hear of it
                answer.set_exception(error)
        return answer.result()
