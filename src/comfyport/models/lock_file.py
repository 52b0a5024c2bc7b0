"""A lock as it lies on the disk: read, changed in as few places as possible, and written whole or not at all."""

import json
import os
import shutil
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comfyport.errors import InvalidLock, LockNotSaved
from comfyport.models.lock import Entry, Lock, parse, read
from comfyport.models.rewrite import rewrite

_NEW = '{\n  "version": 1,\n  "models": []\n}\n'


@dataclass(frozen=True)
class LockFile:
    """What `file` says, as `text` and as a lock; `saved` is the text on the disk, None if there is no file."""

    file: Path
    text: str
    lock: Lock
    saved: str | None

    @classmethod
    def open(cls, file: Path) -> "LockFile":
        """Reads a lock. Raises InvalidLock."""
        text = read(file)
        return cls(file, text, parse(text, file), text)

    @classmethod
    def open_or_new(cls, file: Path) -> "LockFile":
        """Reads a lock, or begins one if there is no file yet. Raises InvalidLock."""
        if file.exists():
            return cls.open(file)
        if not file.parent.is_dir():
            raise InvalidLock(str(file), ["its folder does not exist"])
        return cls(file, _NEW, parse(_NEW, file), None)

    @property
    def models(self) -> list[dict[str, Any]]:
        """The entries as the file has them, in its order."""
        models: list[dict[str, Any]] = json.loads(self.text)["models"]
        return models

    def holding(self, models: Sequence[dict[str, Any]]) -> "LockFile":
        """This lock with other entries; those that stay the same stay as they are written. Raises InvalidLock."""
        text = rewrite(self.text, json.loads(self.text) | {"models": list(models)})
        return LockFile(self.file, text, parse(text, self.file), self.saved)

    def replacing(self, entries: Iterable[Entry]) -> "LockFile":
        """This lock with `entries` in the places of those at their paths; fields that are the same stay as written."""
        new = {entry.path: entry for entry in entries}
        pairs = zip(self.models, self.lock.models, strict=True)
        return self.holding([_with_fields(written, there, new.get(there.path, there)) for written, there in pairs])

    def save(self) -> None:
        """Writes the file, if it says something new. Raises LockNotSaved; then the file is as it was."""
        if self.text == self.saved:
            return
        # Through a link, to the file that it leads to.
        target = self.file.resolve()
        part = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
        try:
            self._refuse_unwritable(target)
            with part.open("w", encoding="utf-8", newline="") as opened:
                opened.write(self.text)
                opened.flush()
                os.fsync(opened.fileno())
            if self.saved is not None:
                shutil.copymode(target, part)
            part.replace(target)
        except OSError as error:
            raise LockNotSaved(str(self.file), os.strerror(error.errno or 0).lower()) from None
        finally:
            part.unlink(missing_ok=True)

    def _refuse_unwritable(self, target: Path) -> None:
        there = target.read_bytes().decode("utf-8", "replace") if target.exists() else None
        if there != self.saved:
            raise LockNotSaved(str(self.file), "another program changed it meanwhile; run the command again")
        # A rename would put a new file in the place of one that nobody may write to.
        if there is not None and not target.stat().st_mode & 0o222:
            raise LockNotSaved(str(self.file), "it is read-only")


def as_json(entry: Entry) -> dict[str, Any]:
    """An entry as a lock has it, without what it does not say."""
    return entry.model_dump(mode="json", exclude_defaults=True)


def _with_fields(written: dict[str, Any], there: Entry, new: Entry) -> dict[str, Any]:
    """What is written of an entry, with the fields that `new` has otherwise, and without those that it lacks."""
    was, will = as_json(there), as_json(new)
    fields = {field: value for field, value in written.items() if was.get(field) == will.get(field)}
    fields |= {field: value for field, value in will.items() if was.get(field) != value}
    return {field: fields[field] for field in Entry.model_fields if field in fields}
