"""What a workflow's nodes report in their `ui` output -> the files and texts that this names.

ComfyUI's own nodes report files as `{"filename", "subfolder", "type"}` under `images` (pictures, and the videos of
SaveVideo and SaveWEBM), `audio`, `3d` and `latents`; a path of a 3D file as the first of `result` (Preview3D); text
under `text` (PreviewAny). VHS_VideoCombine has `gifs`; other custom nodes have `video`, `videos`, `files`, `string`,
`tags`, or a word of their own.
"""

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from comfyport.comfyui.client import Json, StoredFile
from comfyport.jobs.media import is_scene, media_type

TEXTS = frozenset({"text", "texts", "string", "strings", "tags"})
MOVING = frozenset({"gifs", "video", "videos"})
FILES = frozenset({"images", "audio", "3d", "files", "latents"}) | MOVING


@dataclass(frozen=True)
class Report:
    """One file that a node names: `kind` is its list in the answer.

    `certain` is false for a name that may stand for something else than a new file: it need not be there.
    """

    kind: str
    node_id: str
    stored: StoredFile
    certain: bool = True


def reported_files(outputs: dict[str, Json]) -> Iterator[Report]:
    """The files that the nodes name, each once, in the order of `outputs`: by node id, what the node shows."""
    seen: set[StoredFile] = set()
    for node_id, shown in outputs.items():
        for key, value in _entries(shown):
            for item in _flat(value):
                stored = _file(key, item)
                if stored is not None and stored not in seen:
                    seen.add(stored)
                    certain = isinstance(item, dict) and stored.type != "input"
                    yield Report(_kind(key, stored.filename), str(node_id), stored, certain)


def reported_texts(outputs: dict[str, Json]) -> Iterator[tuple[str, str]]:
    """The texts that the nodes show, each as (node id, text)."""
    for node_id, shown in outputs.items():
        for key, value in _entries(shown):
            if key in TEXTS:
                for item in _flat(value):
                    if isinstance(item, str | int | float):
                        yield str(node_id), str(item)


def _entries(shown: Any) -> list[tuple[str, Any]]:
    return list(shown.items()) if isinstance(shown, dict) else []


def _flat(value: Any) -> Iterator[Any]:
    """The items of a list, and of the lists in it; anything else as the one item that it is."""
    if not isinstance(value, list | tuple):
        yield value
        return
    for item in value:
        if isinstance(item, list | tuple):
            yield from item
        else:
            yield item


def _file(key: str, item: Any) -> StoredFile | None:
    if isinstance(item, str):
        return _scene(item) if key == "result" else None
    if not isinstance(item, dict) or not isinstance(item.get("filename"), str) or not item["filename"]:
        return None
    if key not in FILES and "type" not in item and "subfolder" not in item:
        return None
    return _stored(item["filename"], str(item.get("subfolder") or ""), str(item.get("type") or "output"))


def _scene(path: str) -> StoredFile | None:
    """The file that Preview3D shows: a path below the output folder, or `path [input]`."""
    type_ = "output"
    for annotation in ("output", "input", "temp"):
        if path.endswith(f" [{annotation}]"):
            path, type_ = path[: -len(annotation) - 3], annotation
    return _stored(path, "", type_) if is_scene(path) else None


def _stored(filename: str, subfolder: str, type_: str) -> StoredFile:
    """The file under the one name that it has, however the node wrote it."""
    folder, name = posixpath.split(posixpath.normpath(posixpath.join(subfolder, filename)))
    return StoredFile(name, folder, type_)


def _kind(key: str, filename: str) -> str:
    """Its list in the answer. What ComfyUI calls images stays there, as worker-comfyui's users know it."""
    if key == "images":
        return "images"
    main = media_type(filename).split("/")[0]
    if key in MOVING and main == "image":
        return "videos"
    return {"image": "images", "video": "videos", "audio": "audio"}.get(main, "files")
