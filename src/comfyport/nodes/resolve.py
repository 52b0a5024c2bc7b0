"""What a person types, or ComfyUI-Manager has saved, becomes an entry of the lock: pinned, and seen to exist."""

import re
import tempfile
from pathlib import Path

from pydantic import ValidationError

from comfyport.errors import UnknownNode
from comfyport.nodes import addresses
from comfyport.nodes.checkout import Git
from comfyport.nodes.lock import GitSource, Node, RegistrySource
from comfyport.nodes.registry import Registry


def resolve(text: str, *, git: Git, registry: Registry, name: str | None = None, ref: str | None = None) -> Node:
    """The entry for a git address, at `ref` or its HEAD, or for a registry id, `id` or `id@version`.

    `name` is the folder, if not that of the source. Raises UnknownNode, NodeError.
    """
    if "://" in text or re.match(r"[^/]+@[^/]+:", text):
        return _from_git(text, git, name, ref)
    if ref:
        raise UnknownNode(f"{text} is no git address, and only those have a branch, a tag or a commit.")
    return _from_registry(text, registry, name)


def _from_git(text: str, git: Git, name: str | None, ref: str | None) -> Node:
    # What a person has typed may hold a password.
    shown = re.sub(r"//[^/@\s]+@", "//", text)
    try:
        url = addresses.from_person(text)
    except ValueError as error:
        raise UnknownNode(f"{shown} cannot be added: the address {error}.") from None
    try:
        commit = git.resolve(url, addresses.ref(ref) if ref else None)
        return Node(name=name or addresses.folder_name(url), source=GitSource(type="git", url=url, commit=commit))
    except ValidationError as error:
        raise UnknownNode(f"{shown} cannot be added: {_problem(error)}.") from None
    except ValueError as error:
        raise UnknownNode(f"{shown} cannot be added: {error}.") from None


def _from_registry(text: str, registry: Registry, name: str | None) -> Node:
    node_id, _, version = text.partition("@")
    try:
        # Checked before it is asked for.
        RegistrySource(type="registry", id=node_id, version=version or "0")
        release = registry.find(node_id, version or None)
        with tempfile.TemporaryDirectory(prefix="comfyport-") as folder:
            sha256 = registry.download(release, Path(folder) / "node.zip")
        source = RegistrySource(type="registry", id=node_id, version=release.version, sha256=sha256)
        return Node(name=name or node_id, source=source)
    except ValidationError as error:
        raise UnknownNode(f"{text} cannot be added: {_problem(error)}.") from None


def _problem(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{first['loc'][-1]} {first['msg'].removeprefix('Value error, ')}"
