"""The volume: what kind of disk it is, whether it can be written and outlives the container, and its free space."""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from comfyport.doctor.finding import Finding

AREA = "disk"
GB = 1e9
# A container's own layer, or memory: gone with it.
PASSING = frozenset({"overlay", "tmpfs", "ramfs", "aufs"})
MOUNTS = Path("/proc/self/mountinfo")


@dataclass(frozen=True)
class Mount:
    """A mounted file system: where, and of what kind."""

    place: Path
    kind: str


def examine(
    root: Path, *, lasting: bool, wanted: int, statvfs_lies: bool = False, mounts: Path = MOUNTS
) -> Iterator[Finding]:
    """Findings on the volume `root`. `wanted` is how many bytes are still to be fetched.

    With `statvfs_lies`, as on Modal, what the file system says of its free space means nothing.
    """
    standing = _standing(root)
    mount = mount_of(standing, mounts)
    kind = f"{root} on {mount.kind}, mounted at {mount.place}" if mount else str(root)
    if standing != root:
        kind += ", not made yet"
    passing = not lasting or (mount is not None and mount.kind in PASSING)
    if passing:
        fix = "Mount a volume there, or name one with COMFYPORT_VOLUME: else each container downloads everything anew."
        yield Finding(AREA, "volume", "note", f"{kind}: it goes with the container", fix)
    else:
        yield Finding(AREA, "volume", "ok", kind)
    yield _writable(standing, root)
    yield _space(standing, wanted, statvfs_lies=statvfs_lies)


def mount_of(path: Path, mounts: Path = MOUNTS) -> Mount | None:
    """The file system that `path` is on (proc_pid_mountinfo(5)); None if that cannot be told."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    found = None
    for line in lines:
        about, _, system = line.partition(" - ")
        fields = about.split()
        place = Path(fields[4].encode().decode("unicode_escape"))
        # Of two at the same place the later hides the earlier.
        if path.resolve().is_relative_to(place) and (found is None or len(str(place)) >= len(str(found.place))):
            found = Mount(place, system.split()[0])
    return found


def _standing(root: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    while not root.exists():
        root = root.parent
    return root


def _writable(folder: Path, root: Path) -> Finding:
    try:
        with tempfile.TemporaryFile(dir=folder, prefix=".comfyport-doctor-") as file:
            file.write(b"x")
            file.flush()
    except OSError as error:
        fix = "Mount it writable and give this user the right to write there, or name another with COMFYPORT_VOLUME."
        return Finding(AREA, "writable", "problem", f"{root} cannot be written: {error.strerror}", fix)
    return Finding(AREA, "writable", "ok", "a file was written and removed")


def _space(folder: Path, wanted: int, *, statvfs_lies: bool) -> Finding:
    to_come = f"{wanted / GB:.1f} GB to fetch"
    if statvfs_lies:
        return Finding(AREA, "space", "ok", f"{to_come}; a Modal Volume grows as needed")
    free = shutil.disk_usage(folder).free
    said = f"{free / GB:.1f} GB free, {to_come}"
    if wanted > free:
        fix = "Enlarge the volume, run `comfyport models gc`, or choose fewer models with MODEL_GROUPS."
        return Finding(AREA, "space", "problem", said, fix)
    return Finding(AREA, "space", "ok", said)
