"""Says what would bring a model's file that a workflow names and ComfyUI does not find."""

import difflib
import logging
from collections.abc import Callable
from functools import cached_property

from comfyport.comfyui.needs import ModelFile
from comfyport.errors import InvalidLock, UnknownGroup
from comfyport.models.lock import Entry, Lock
from comfyport.status import Board

logger = logging.getLogger(__name__)


class Hints:
    """What the lock and the notice board know of missing files; the lock is read when the first one is missing.

    `groups` are those of MODEL_GROUPS; `downloads` is whether this worker fetches models at all.
    """

    def __init__(self, load: Callable[[], Lock], groups: tuple[str, ...], board: Board, *, downloads: bool) -> None:
        self._load = load
        self._groups = groups
        self._board = board
        self._downloads = downloads

    def __call__(self, file: ModelFile) -> str:
        """What to do to have the file."""
        if entry := self._entry(file):
            return self._about(entry, file)
        near = self._near(file)
        lock = f"The lock has no such file; the nearest is {near}." if near else "It is not in the lock."
        return f"{lock} Add an entry for it to models.lock.json, or put it into models/{file.folder or '<folder>'}/."

    @cached_property
    def _lock(self) -> Lock:
        try:
            return self._load()
        except InvalidLock as error:
            logger.warning("the lock cannot tell about a missing model: %s", error.message)
            return Lock(version=1, models=())

    @property
    def _entries(self) -> tuple[Entry, ...]:
        return self._lock.models

    @cached_property
    def _chosen(self) -> set[str]:
        try:
            return {entry.path for entry in self._lock.choose(self._groups)}
        except UnknownGroup:
            return set()

    def _entry(self, file: ModelFile) -> Entry | None:
        """The entry that brings the file, or one of the same base name, first one where ComfyUI looks for it."""
        named = [entry for entry in self._entries if file.is_meant_by(entry.directory, entry.name)]
        named = named or [entry for entry in self._entries if ModelFile("", file.base_name).is_meant_by(*_place(entry))]
        return min(named, key=lambda entry: not file.lies_in(entry.directory), default=None)

    def _about(self, entry: Entry, file: ModelFile) -> str:
        where = f"It is in the lock as {entry.path}"
        if entry.path not in self._chosen:
            groups = " or ".join(entry.groups) if entry.groups else "none, while others have groups"
            return f"{where}, in the group {groups}, which this worker does not have: add it to MODEL_GROUPS."
        if not self._downloads:
            return f"{where}, but this worker downloads nothing (DOWNLOAD_MODELS_ON_STARTUP): run download-models.sh."
        listed = (self._board.read("models") or {}).get("files", ())
        state = next((known for known in listed if known["path"] == entry.path), None)
        if state is None or state["state"] in ("waiting", "downloading"):
            return f"{where} and is still to be downloaded: send the job again."
        if state["state"] == "failed":
            return f"{where}, but its download failed: {(state.get('error') or {}).get('message', 'see the log')}"
        if file.folder and not file.lies_in(entry.directory):
            return f"{where}, but this node looks in models/{file.folder}/: correct the entry's directory."
        name = entry.path.split("/", 1)[1]
        if name != file.name:
            return f"{where}: name it {name}."
        return f"{where} and is on the volume, but this node does not look there: check the entry's directory."

    def _near(self, file: ModelFile) -> str:
        names = {entry.path.rsplit("/", 1)[-1]: entry for entry in self._entries}
        near = difflib.get_close_matches(file.base_name, names, n=1)
        if not near:
            return ""
        entry = names[near[0]]
        return entry.path + (f" (group {', '.join(entry.groups)})" if entry.groups else "")


def _place(entry: Entry) -> tuple[str, str]:
    return entry.directory, entry.name
