"""Hugging Face caches that are there already: what they hold is linked, not downloaded.

    <hub>/models--<owner>--<name>/blobs/<sha256>               a file in LFS or Xet; since huggingface_hub 2 perhaps a
                                                               link to <hub>/blobs/<xx>/<Xet hash>
    <hub>/models--<owner>--<name>/snapshots/<commit>/<file>    a link to a blob; a plain file where links do not work
    <hub>/models--<owner>--<name>/blobs/<name>.incomplete      under way

Files appear under these names by a rename, so that they are whole; nothing is read here but folders and sizes.
https://huggingface.co/docs/huggingface_hub/guides/manage-cache
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from comfyport.models.lock import Entry, HuggingFaceSource

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def hubs(volume_root: Path, hf_home: Path | None) -> tuple[Path, ...]:
    """The caches that exist: the one that RunPod mounts into the volume, and the one below `$HF_HOME`."""
    places = [volume_root / "huggingface-cache" / "hub", *([hf_home / "hub"] if hf_home else [])]
    found: list[Path] = []
    for place in places:
        if _is_folder(place) and not any(place.samefile(known) for known in found):
            found.append(place)
    return tuple(found)


def find(entry: Entry, hubs: Sequence[Path]) -> Path | None:
    """The whole file that `entry` pins by its sha256, or by a commit and its size, in one of `hubs`; else None.

    The real file, with no link of the cache before it. Its bytes are not read.
    """
    for hub in hubs:
        repos = _repos(hub)
        file = _by_digest(entry, repos) or _by_commit(entry, repos)
        if file:
            return file
    return None


def _by_digest(entry: Entry, repos: Sequence[Path]) -> Path | None:
    """The blob with the entry's sha256: in the repositories that the entry names first, then in any."""
    if entry.sha256 is None:
        return None
    named = [repo for source in _sources(entry) for repo in _named(source, repos)]
    blobs = (repo / "blobs" / entry.sha256 for repo in (*named, *repos))
    return next((real for blob in blobs if (real := _whole(blob, entry.size))), None)


def _by_commit(entry: Entry, repos: Sequence[Path]) -> Path | None:
    """The entry's file at the commit that the entry pins, if it has the entry's size."""
    if entry.size is None:
        return None
    for source in _sources(entry):
        for repo in _named(source, repos) if _COMMIT.fullmatch(source.revision) else ():
            file = repo / "snapshots" / source.revision / source.file
            blob = _blob_name(file)
            another = entry.sha256 and _SHA256.fullmatch(blob) and blob != entry.sha256
            if not another and (real := _whole(file, entry.size)):
                return real
    return None


def _whole(file: Path, size: int | None) -> Path | None:
    """The real file behind `file`, if there is one that can be read and has `size` bytes, where that is known."""
    try:
        real = file.resolve(strict=True)
        actual = real.stat().st_size
        if real.is_file() and os.access(real, os.R_OK) and (actual == size if size is not None else actual > 0):
            return real
    except (OSError, RuntimeError):
        # No such file, no right to look, or links in a circle: not in this cache.
        pass
    return None


def _blob_name(file: Path) -> str:
    """What the blob behind a file at a commit is called; empty if the file is no link."""
    try:
        return file.readlink().name
    except OSError:
        return ""


def _sources(entry: Entry) -> list[HuggingFaceSource]:
    return [source for source in entry.sources if isinstance(source, HuggingFaceSource)]


def _named(source: HuggingFaceSource, repos: Sequence[Path]) -> list[Path]:
    # RunPod's documentation shows these folders in lower case.
    name = f"models--{source.repo.replace('/', '--')}".lower()
    return [repo for repo in repos if repo.name.lower() == name]


def _repos(hub: Path) -> list[Path]:
    try:
        return sorted(Path(item) for item in os.scandir(hub) if item.name.startswith("models--"))
    except OSError:
        return []


def _is_folder(place: Path) -> bool:
    try:
        return place.is_dir()
    except OSError:
        return False
