"""Brings the custom nodes of a lock to their place, and their Python packages to ComfyUI's Python.

What can be done is done: a node that fails is named and stops no other.
"""

import json
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from comfyport.errors import ComfyportError, NodeError, NodeFetchFailed, NodeFolderTaken
from comfyport.nodes import requirements
from comfyport.nodes.checkout import Git
from comfyport.nodes.events import NodeFailed, NodeReady, NodeStarted, Observer, PackagesStarted, shielded
from comfyport.nodes.lock import GitSource, Node
from comfyport.nodes.packages import Packages, Provided
from comfyport.nodes.places import Finding, Place, survey
from comfyport.nodes.registry import Registry

FETCHERS = 4

Outcome = Literal["baked", "ready", "installed", "failed"]


@dataclass(frozen=True)
class NodeResult:
    """What became of one node: baked into the image, ready already, installed now, or failed."""

    node: Node
    state: Outcome
    seconds: float = 0.0
    error: ComfyportError | None = None

    def as_json(self) -> dict[str, Any]:
        """The result as `--json` prints it."""
        failure = {"code": self.error.code, "message": self.error.message} if self.error else None
        named = {"name": self.node.name, "pin": self.node.source.pin, "state": self.state}
        return {**named, "seconds": round(self.seconds, 3), "error": failure}


@dataclass(frozen=True)
class SyncResult:
    """What became of all nodes, and the folder of their packages, if they need one."""

    nodes: tuple[NodeResult, ...]
    packages: Path | None
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether no node failed."""
        return not any(node.state == "failed" for node in self.nodes)

    def as_json(self) -> dict[str, Any]:
        """The result as `--json` prints it."""
        listed = [node.as_json() for node in self.nodes]
        folder = str(self.packages) if self.packages else None
        return {"ok": self.ok, "seconds": round(self.seconds, 3), "packages": folder, "nodes": listed}


@dataclass
class Sync:
    """One run over the nodes of a lock. `image` is where baked nodes lie; None while they are being baked."""

    nodes: Sequence[Node]
    place: Place
    image: Place | None
    packages: Packages
    git: Git
    registry: Registry
    observe: Observer = field(default=lambda event: None)

    def run(self) -> SyncResult:
        """Does what is left to do; a failure is a result. Raises OSError if there is no folder to work in."""
        started = time.monotonic()
        self.observe = shielded(self.observe)
        self._errors: dict[str, ComfyportError] = {}
        self._fetched: dict[str, float] = {}
        self._changing = threading.Lock()
        findings = survey(self.nodes, volume=self.place, image=self.image)
        self.place.sweep()
        with self.place.workspace() as workspace:
            with ThreadPoolExecutor(FETCHERS, thread_name_prefix="nodes") as fetchers:
                for _ in fetchers.map(lambda finding: self._bring(finding, workspace), findings):
                    pass
            provided = self._provide(findings, workspace)
        result = SyncResult(
            tuple(self._result(finding) for finding in findings), provided.folder, time.monotonic() - started
        )
        _note(result, self.place)
        return result

    def _bring(self, finding: Finding, workspace: Path) -> None:
        """Fetches one node if it is not there, and puts it in place."""
        node, started = finding.node, time.monotonic()
        if finding.state in ("baked", "installed"):
            return
        try:
            if finding.state == "blocked":
                raise NodeFolderTaken(node.name, f"the folder {node.name}", finding.reason)
            self.observe(NodeStarted(node.name, node.source.pin))
            own = workspace / node.name
            own.mkdir()
            self._fetch(node, own / "tree")
            self.place.publish(own / "tree", node, own)
        except NodeError as error:
            self._fail(node.name, error)
        except OSError as error:
            self._fail(node.name, NodeFetchFailed(node.name, str(error), source=node.source.pin))
        else:
            self._fetched[node.name] = time.monotonic() - started
            self.observe(NodeReady(node.name, node.source.pin, self._fetched[node.name]))

    def _fetch(self, node: Node, tree: Path) -> None:
        if isinstance(node.source, GitSource):
            self.git.fetch(node.name, node.source.url, node.source.commit, tree)
        else:
            self.registry.fetch(node.name, node.source, tree)

    def _provide(self, findings: Sequence[Finding], workspace: Path) -> Provided:
        standing = [found.node for found in findings if found.state != "baked" and found.node.name not in self._errors]
        asked, refused = requirements.read_all([node.name for node in standing], self.place.nodes)
        for name, error in refused.items():
            self._fail(name, error)
        if provided := self.packages.present(asked):
            return provided
        self.observe(PackagesStarted(tuple(name for name, each in asked.items() if each.lines)))
        work = workspace / ".packages"
        work.mkdir()
        provided = self.packages.provide(asked, work)
        for name, error in provided.failed.items():
            self._fail(name, error)
        return provided

    def _fail(self, name: str, error: ComfyportError) -> None:
        with self._changing:
            self._errors[name] = error
        self.observe(NodeFailed(name, error.code, error.message))

    def _result(self, finding: Finding) -> NodeResult:
        name = finding.node.name
        if error := self._errors.get(name):
            return NodeResult(finding.node, "failed", error=error)
        if name in self._fetched:
            return NodeResult(finding.node, "installed", self._fetched[name])
        return NodeResult(finding.node, "baked" if finding.state == "baked" else "ready")


def last_failures(place: Place) -> Mapping[str, dict[str, str]]:
    """What failed in the last sync on this volume, by node: `pin`, `code` and `message`."""
    try:
        content = json.loads(_note_file(place).read_text(encoding="utf-8"))
        return {str(name): dict(failure) for name, failure in content["failed"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _note(result: SyncResult, place: Place) -> None:
    failed = {
        each.node.name: {"pin": each.node.source.pin, "code": each.error.code, "message": each.error.message}
        for each in result.nodes
        if each.error
    }
    file = _note_file(place)
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{uuid.uuid4().hex}")
    part.write_text(json.dumps({"at": time.time(), "failed": failed}, indent=2), encoding="utf-8")
    part.replace(file)


def _note_file(place: Place) -> Path:
    return place.work.parent / "last-sync.json"
