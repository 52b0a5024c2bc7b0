"""Opens a file of whatever kind, and says which models it asks for."""

import json
import os
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from comfyport.comfyui import editor
from comfyport.comfyui.named_models import NamedModel, named_models, switched_off
from comfyport.errors import UnusableImport
from comfyport.intake import lists
from comfyport.intake.wanted import Reading, Wanted

_PNG = b"\x89PNG\r\n\x1a\n"
_ZIP = b"PK\x03\x04"
_ADDRESS = re.compile(r"[a-z]+://|urn:air:|civitai:")
# Workflows and lists have some MB at most; a checkpoint that is named by mistake is not read into memory.
_LONGEST_FILE = 64 << 20


def read(file: Path) -> Reading:
    """What a file asks for, by its content and not its name. Raises UnusableImport."""
    try:
        with file.open("rb") as opened:
            content = opened.read(_LONGEST_FILE + 1)
    except OSError as error:
        raise UnusableImport(str(file), os.strerror(error.errno or 0).lower()) from None
    if content.startswith(_PNG):
        return _from_picture(file)
    if content.startswith(_ZIP):
        return _from_pack(file)
    if len(content) > _LONGEST_FILE:
        raise UnusableImport(str(file), f"it has more than {_LONGEST_FILE >> 20} MB")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UnusableImport(str(file), "it is neither a text nor a PNG") from None
    document = _parsed(text)
    reading = _from_document(document) if isinstance(document, dict) else _from_lines(text)
    if reading is None:
        raise UnusableImport(str(file), "nothing in it is known to name models")
    return reading


def _parsed(text: str) -> Any:
    """A text's JSON or YAML; None if it is neither."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError):
        return None


def _from_document(document: dict[str, Any]) -> Reading | None:
    if workflow := _workflow_in(document):
        return _from_workflow(workflow)
    if document.get("schema") == "comfy-build/1":
        return lists.cli_build(document)
    reader = _list_reader(document.get("models"))
    return reader(document) if reader else None


def _workflow_in(document: dict[str, Any]) -> Mapping[str, Any] | None:
    """The workflow that a document is or holds: as saved, as an API request, as a job, as a picture's metadata."""
    if editor.is_editor_format(document) or _is_api_format(document):
        return document
    extra = document.get("extra_data")
    pictured = extra.get("extra_pnginfo") if isinstance(extra, dict) else None
    for holder in (pictured, document.get("input"), document):
        for key in ("workflow", "prompt"):
            inner = holder.get(key) if isinstance(holder, dict) else None
            if isinstance(inner, dict) and (editor.is_editor_format(inner) or _is_api_format(inner)):
                return inner
    return None


def _is_api_format(document: Any) -> bool:
    nodes = document.values() if isinstance(document, dict) else ()
    return bool(nodes) and all(isinstance(node, dict) and "class_type" in node for node in nodes)


def _list_reader(models: Any) -> Callable[[dict[str, Any]], Reading] | None:
    """Whose list `models` is, by the keys of its first entry."""
    keys = set(models[0]) if isinstance(models, list) and models and isinstance(models[0], dict) else set()
    if {"filename", "sha256"} <= keys:
        return lists.pack_snapshot
    if {"filename", "url"} <= keys:
        return lists.manager_list
    return lists.cli_lock if {"model", "url"} <= keys else None


def _from_workflow(workflow: Mapping[str, Any]) -> Reading:
    kind = "a workflow in the editor's format" if editor.is_editor_format(workflow) else "a workflow in API format"
    off = [f"{model.file.name} is not needed: {_nodes(model)} off" for model in switched_off(workflow)]
    return Reading(kind, tuple(_wanted(model) for model in named_models(workflow)), tuple(off))


def _wanted(model: NamedModel) -> Wanted:
    digest = model.sha256 if len(model.sha256) == 64 else None
    return Wanted(model.file.name, model.file.folder, model.addresses, digest, nodes=model.nodes)


def _nodes(model: NamedModel) -> str:
    return f"node {model.nodes[0]} is" if len(model.nodes) == 1 else f"nodes {', '.join(model.nodes)} are"


def _from_picture(file: Path) -> Reading:
    """The workflow that ComfyUI puts into the pictures that it saves (nodes.py, SaveImage)."""
    try:
        with Image.open(file, formats=["PNG"]) as picture:
            texts = [picture.info.get(key) for key in ("workflow", "prompt")]
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UnusableImport(str(file), f"the picture cannot be read ({error})") from None
    for text in texts:
        workflow = _workflow_in(parsed) if isinstance(text, str) and isinstance(parsed := _parsed(text), dict) else None
        if workflow:
            return _from_workflow(workflow)
    raise UnusableImport(str(file), "the picture holds no workflow: it was saved without, or changed since")


def _from_pack(file: Path) -> Reading:
    """The snapshot in a .cpack.zip of comfy-pack."""
    try:
        with zipfile.ZipFile(file) as pack, pack.open("snapshot.json") as opened:
            document = json.loads(opened.read(_LONGEST_FILE))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile, NotImplementedError, RuntimeError):
        raise UnusableImport(str(file), "it is no package of comfy-pack: it has no snapshot.json") from None
    if not isinstance(document, dict):
        raise UnusableImport(str(file), "its snapshot.json is no snapshot")
    return lists.pack_snapshot(document)


def _from_lines(text: str) -> Reading | None:
    """A list of addresses, if that is what each of its lines begins with."""
    reading = lists.address_list(text)
    is_list = bool(reading.wanted) and all(_ADDRESS.match(each.addresses[0]) for each in reading.wanted)
    return reading if is_list else None
