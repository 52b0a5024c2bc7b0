"""Reads a snapshot of ComfyUI-Manager: which nodes, at which commit or version, were installed and switched on.

    {"comfyui": "<commit>", "git_custom_nodes": {"<url>": {"hash": "<commit>", "disabled": false}},
     "cnr_custom_nodes": {"<registry id>": "<version>"}, "file_custom_nodes": [{"filename": "a.py", "disabled": false}],
     "pips": {"<package>": "<version>"}}

The Manager saves JSON, or YAML with this below `custom_nodes`; JSON is read here. Its `pips` are left out: packages are
resolved anew against the image.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comfyport.errors import InvalidSnapshot


@dataclass(frozen=True)
class Wanted:
    """A node of a snapshot, as `resolve` takes it: a git address with a commit, or `id@version`."""

    text: str
    ref: str | None = None


@dataclass(frozen=True)
class Snapshot:
    """What a snapshot asks for, and remarks on what cannot be taken over."""

    wanted: tuple[Wanted, ...]
    remarks: tuple[str, ...]


def read(file: Path) -> Snapshot:
    """Reads a snapshot. Raises InvalidSnapshot."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidSnapshot(str(file), os.strerror(error.errno or 0).lower()) from None
    except ValueError as error:
        raise InvalidSnapshot(str(file), f"it is not JSON ({error})") from None
    if not isinstance(content, dict) or not {"git_custom_nodes", "cnr_custom_nodes"}.intersection(content):
        raise InvalidSnapshot(str(file), "it has neither git_custom_nodes nor cnr_custom_nodes")
    repositories = _section(content, "git_custom_nodes", file)
    versions = _section(content, "cnr_custom_nodes", file)
    wanted = [Wanted(url, _commit(state)) for url, state in repositories.items() if not _is_disabled(state)]
    wanted += [Wanted(f"{node_id}@{version}") for node_id, version in versions.items()]
    return Snapshot(tuple(wanted), tuple(_remarks(content, repositories)))


def _section(content: dict[str, Any], name: str, file: Path) -> dict[str, Any]:
    section = content.get(name) or {}
    if not isinstance(section, dict):
        raise InvalidSnapshot(str(file), f"{name} is no object")
    return section


def _is_disabled(state: Any) -> bool:
    return isinstance(state, dict) and bool(state.get("disabled"))


def _commit(state: Any) -> str | None:
    commit = state.get("hash") if isinstance(state, dict) else None
    return commit if isinstance(commit, str) and commit else None


def _remarks(content: dict[str, Any], repositories: dict[str, Any]) -> list[str]:
    remarks = [f"{url} is switched off in the snapshot" for url, state in repositories.items() if _is_disabled(state)]
    for each in content.get("file_custom_nodes") or ():
        if isinstance(each, dict) and not each.get("disabled"):
            remarks.append(f"{each.get('filename')} is a single file: copy it to custom_nodes/ on the volume")
    if isinstance(content.get("comfyui"), str) and content["comfyui"]:
        remarks.append(f"ComfyUI was at {content['comfyui']}; the image decides which one runs here")
    return remarks
