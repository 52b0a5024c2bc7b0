"""What was added to the lock on a volume, or taken out of it: known to all who use it, without an image built anew.

    <volume>/.comfyport/amendments/<path>.json    {"over": "<fingerprint>" | null, "entry": {...} | null}

`entry` is what the lock shall say of a model's path, null to say nothing. `over` is what it said itself when that was
asked for, null for nothing: an amendment counts as long as that still stands, so that a lock which says something else
by now is newer and wins. Each has a file of its own, since of two who write one file at once a Modal Volume keeps the
last. None may name an `auth`: custom nodes write to volumes too, and shall not choose where a token is sent.
"""

import hashlib
import json
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from comfyport.errors import InvalidLock
from comfyport.models import lock
from comfyport.models.lock import Entry, Lock, Source, UrlSource
from comfyport.models.paths import folded
from comfyport.models.volume import Volume


class Amendment(BaseModel):
    """What the lock shall say of a path, as long as `over` is the fingerprint of what it says itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    over: str | None
    entry: Entry | None


def load(file: Path, volume: Volume) -> Lock:
    """The lock in `file`, amended. Raises InvalidLock."""
    return amended(lock.load(file), volume)


def choose(file: Path, volume: Volume, groups: tuple[str, ...]) -> tuple[Entry, ...]:
    """The entries of `groups` in the amended lock, as `Lock.choose`. Raises InvalidLock, UnknownGroup."""
    whole = lock.load(file)
    now = amended(whole, volume)
    # A group whose last model was taken out on the volume is empty, and nobody's mistake.
    left = tuple(group for group in groups if group in now.groups or group not in whole.groups)
    return now.choose(left) if left or not groups else ()


def amended(whole: Lock, volume: Volume) -> Lock:
    """A lock with the amendments of a volume. Raises InvalidLock, naming the file."""
    noted = read(volume)
    if not noted:
        return whole
    said: dict[str, Entry | None] = {folded(entry.path): entry for entry in whole.models}
    for path, amendment in noted.items():
        if amendment.over == fingerprint(said.get(folded(path))):
            said[folded(path)] = amendment.entry
    models = tuple(entry for entry in said.values() if entry is not None)
    try:
        return Lock.model_validate({"$schema": whole.schema_file, "version": whole.version, "models": models})
    except ValidationError as error:
        raise InvalidLock(str(volume.amendments), [problem["msg"] for problem in error.errors()]) from None


def read(volume: Volume) -> Mapping[str, Amendment]:
    """The amendments of a volume by the path that each is about. Raises InvalidLock, naming the file."""
    folder = volume.amendments
    files = sorted(file for file in folder.rglob("*.json") if not file.name.startswith("."))
    return {file.relative_to(folder).as_posix().removesuffix(".json"): _read(file) for file in files}


def add(entry: Entry, whole: Lock, volume: Volume) -> None:
    """Tells everybody who uses the volume with the lock `whole` of an entry. Raises InvalidLock, OSError."""
    bare = tuple(
        source.model_copy(update={"auth": None}) if _names_token(source) else source for source in entry.sources
    )
    _write(entry.path, entry.model_copy(update={"sources": bare}), whole, volume)


def take_out(path: str, whole: Lock, volume: Volume) -> None:
    """Has everybody who uses the volume with the lock `whole` do without the entry at `path`, which the lock allows.

    Raises InvalidLock, OSError.
    """
    _write(path, None, whole, volume)


def fingerprint(entry: Entry | None) -> str | None:
    """What tells an entry from any other; None for no entry."""
    if entry is None:
        return None
    written = json.dumps(entry.model_dump(mode="json", exclude_defaults=True), sort_keys=True)
    return hashlib.sha256(written.encode()).hexdigest()


def _write(path: str, entry: Entry | None, whole: Lock, volume: Volume) -> None:
    for other in read(volume):
        if folded(other) == folded(path):
            _file(volume, other).unlink()
    over = next((found for found in whole.models if folded(found.path) == folded(path)), None)
    if entry is None and over is None:
        return
    document = Amendment(over=fingerprint(over), entry=entry).model_dump(mode="json", exclude_defaults=True)
    file = _file(volume, path)
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{uuid.uuid4().hex}")
    part.write_text(json.dumps(document, indent=2), encoding="utf-8")
    part.replace(file)


def _read(file: Path) -> Amendment:
    try:
        document: Any = json.loads(file.read_text(encoding="utf-8"))
        found = Amendment.model_validate(document)
    except OSError as error:
        raise InvalidLock(str(file), [f"it cannot be read: {os.strerror(error.errno or 0)}"]) from None
    except ValidationError as error:
        raise InvalidLock(str(file), [problem["msg"] for problem in error.errors()]) from None
    except ValueError as error:
        raise InvalidLock(str(file), [f"it is not JSON: {error}"]) from None
    if found.entry and any(map(_names_token, found.entry.sources)):
        raise InvalidLock(str(file), ["on a volume, no source may name a variable (`auth`); the lock itself may"])
    return found


def _names_token(source: Source) -> bool:
    return isinstance(source, UrlSource) and source.auth is not None


def _file(volume: Volume, path: str) -> Path:
    return volume.amendments / f"{path}.json"
