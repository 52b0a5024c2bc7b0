"""What a job's files are called where they are delivered: `<job id>/<name>`, safe as a path and as a key."""

import hashlib
import posixpath
import re
import uuid

from comfyport.comfyui.client import StoredFile
from comfyport.jobs.outputs import Output

_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
_ODD = re.compile(r"[\x00-\x1f\x7f\\]")


def folder_of(job_id: str) -> str:
    """The job's id as one part of a path.

    An id is whatever a client says: one that is no plain word is replaced by its digest, a missing one by a random one.
    """
    if _PLAIN.fullmatch(job_id):
        return job_id
    return hashlib.sha256(job_id.encode("utf-8", "replace")).hexdigest()[:32] if job_id else uuid.uuid4().hex


def names_of(files: tuple[Output, ...]) -> list[str]:
    """A name for each file: as ComfyUI's, with its subfolder, and no two alike."""
    taken: set[str] = set()
    names: list[str] = []
    for file in files:
        plain = _plain(file.stored)
        stem, suffix = posixpath.splitext(plain)
        number, name = 1, plain
        while name.lower() in taken:
            number += 1
            name = f"{stem}-{number}{suffix}"
        taken.add(name.lower())
        names.append(name)
    return names


def _plain(stored: StoredFile) -> str:
    parts = [*stored.subfolder.split("/"), stored.filename]
    return "/".join(_ODD.sub("_", part) for part in parts if part not in ("", ".", ".."))
