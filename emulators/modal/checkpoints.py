"""What leads out of a container while a memory snapshot of it is taken: TCP connections of its processes to others.

The client pauses its heartbeats for the snapshot, because an open connection makes the snapshotter crash
(`snapshot_context_manager` in modal 1.6.4); what a user's processes hold is the user's affair. Linux only (proc(5)).
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ESTABLISHED = "01"


@dataclass(frozen=True)
class Checkpoint:
    """One snapshot: the container, and the addresses that its processes were connected to outside of it."""

    task_id: str
    connected_to: list[str]


def connected_to(pid: int) -> list[str]:
    """The far ends, as hexadecimal `ADDRESS:PORT`, of connections out of the process `pid` and those it started."""
    inside = set().union(*(_sockets(process) for process in _family(pid)))
    rows = list(_connections())
    own_ends = {near for near, _, inode in rows if inode in inside}
    return sorted(far for _, far, inode in rows if inode in inside and far not in own_ends)


def _family(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                # The name in brackets may hold anything, so fields are counted from its end.
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(folder.name))
    family = [pid]
    for member in family:
        family.extend(children.get(member, ()))
    return family


def _sockets(pid: int) -> set[str]:
    links = set()
    with suppress(OSError):
        for descriptor in list(Path(f"/proc/{pid}/fd").iterdir()):
            with suppress(OSError):
                links.add(str(descriptor.readlink()))
    return {link.removeprefix("socket:[").rstrip("]") for link in links if link.startswith("socket:[")}


def _connections() -> Iterator[tuple[str, str, str]]:
    """Near end, far end and inode of every established connection."""
    for table in ("tcp", "tcp6"):
        file = Path("/proc/net", table)
        for line in file.read_text().splitlines()[1:] if file.exists() else ():
            fields = line.split()
            if fields[3] == ESTABLISHED:
                yield fields[1], fields[2], fields[9]
