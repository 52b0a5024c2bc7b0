"""Where custom nodes lie: on the volume, or baked into the image; and which of them comfyport has put there.

    <volume>/custom_nodes/<name>/                      a node; `.comfyport-node.json` in it says which pin it is
    <volume>/.comfyport/nodes/fetching/<id>/           what is being fetched, on the same file system
    <volume>/.comfyport/nodes/packages/<key>/          the Python packages of all of them: see `packages.py`
    <volume>/.comfyport/nodes/last-sync.json           what failed the last time

A node is renamed to its place as a whole, so that what stands there is never half of one. Containers that start
together on one volume fetch the same node twice at worst: the first rename wins, the second finds that it is there.
"""

import errno
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from comfyport.errors import NodeFolderTaken
from comfyport.nodes.lock import Node

MARKER = ".comfyport-node.json"
# Nothing that is alive works so long on one node.
STALE_SECONDS = 24 * 3600.0

State = Literal["baked", "installed", "missing", "outdated", "blocked"]


@dataclass(frozen=True)
class Place:
    """A folder of custom nodes, and a folder on the same file system for work under way."""

    nodes: Path
    work: Path

    @classmethod
    def on_volume(cls, root: Path) -> "Place":
        """The place of nodes on the volume `root`."""
        return cls(root / "custom_nodes", root / ".comfyport" / "nodes" / "fetching")

    @classmethod
    def in_image(cls, comfyui: Path) -> "Place":
        """The place of nodes that are baked beside the ComfyUI in the folder `comfyui`."""
        return cls(comfyui / "custom_nodes", comfyui / ".comfyport" / "nodes" / "fetching")

    def pin(self, name: str) -> str | None:
        """The pin of the node that comfyport has put here; None if it has not, or if that is somebody else's now.

        A git checkout that was moved to another commit since is at that commit's pin.
        """
        folder = self.nodes / name
        if folder.is_symlink():
            return None
        try:
            pin = json.loads((folder / MARKER).read_text(encoding="utf-8"))["pin"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if not isinstance(pin, str):
            return None
        with suppress(OSError):
            if pin.startswith("git:"):
                return f"git:{(folder / '.git' / 'HEAD').read_text(encoding='utf-8').strip()}"
        return pin

    def holds(self, name: str) -> bool:
        """Whether anything stands where the node belongs."""
        return os.path.lexists(self.nodes / name)

    def managed(self) -> list[str]:
        """The names of all nodes that comfyport has put here, sorted."""
        return sorted(path.parent.name for path in self.nodes.glob(f"*/{MARKER}") if not path.parent.is_symlink())

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """A new folder to work in, removed in the end. Raises OSError."""
        folder = self.work / uuid.uuid4().hex
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def sweep(self) -> None:
        """Removes what processes that died have left in the work folder."""
        for left in self.work.iterdir() if self.work.is_dir() else ():
            with suppress(OSError):
                if time.time() - left.stat().st_mtime > STALE_SECONDS:
                    shutil.rmtree(left, ignore_errors=True)

    def publish(self, tree: Path, node: Node, workspace: Path) -> None:
        """Renames a whole `tree` to its place; an older one of ours goes to `workspace` first.

        Raises NodeFolderTaken, or OSError.
        """
        self.nodes.mkdir(parents=True, exist_ok=True)
        marker = {"name": node.name, "pin": node.source.pin, "source": node.source.model_dump(), "at": time.time()}
        # A repository may hold a link of this name, which would be followed.
        (tree / MARKER).unlink(missing_ok=True)
        (tree / MARKER).write_text(json.dumps(marker), encoding="utf-8")
        target = self.nodes / node.name
        if self.holds(node.name) and self.pin(node.name) is None:
            raise NodeFolderTaken(node.name, str(target), "is your own, and stays as it is")
        with suppress(FileNotFoundError):
            target.rename(workspace / "before")
        try:
            tree.rename(target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or self.pin(node.name) != node.source.pin:
                raise

    def remove(self, name: str) -> bool:
        """Removes a node that comfyport has put here; False, and nothing is touched, if there is none."""
        if self.pin(name) is None:
            return False
        with self.workspace() as workspace:
            (self.nodes / name).rename(workspace / name)
        return True


@dataclass(frozen=True)
class Finding:
    """What the disk says of one node of the lock; `reason` tells why it is blocked."""

    node: Node
    state: State
    reason: str = ""


def survey(nodes: Sequence[Node], *, volume: Place, image: Place | None) -> list[Finding]:
    """How each node stands, by looking at a file or two. `image` is the folder of what was baked, if any can be."""
    return [_find(node, volume, image) for node in nodes]


def _find(node: Node, volume: Place, image: Place | None) -> Finding:
    # ComfyUI loads both folders, and the image's later: two of a name would be a riddle.
    if image and image.holds(node.name):
        baked = image.pin(node.name)
        if baked == node.source.pin:
            return Finding(node, "baked")
        what = f"in the image is at {baked}" if baked else "in the image was not put there by comfyport"
        return Finding(node, "blocked", f"{what}: build the image anew with this lock, or take the node out of it")
    if not volume.holds(node.name):
        return Finding(node, "missing")
    pin = volume.pin(node.name)
    if pin is None:
        return Finding(node, "blocked", "is your own: move it away, or take the node out of the lock")
    return Finding(node, "installed" if pin == node.source.pin else "outdated")
