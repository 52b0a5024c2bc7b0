"""Lists of models as other tools write them; each function takes a parsed document.

- ComfyUI-Manager's model-list.json: {"models": [{"filename", "url", "type", "save_path", …}]}.
- comfy-cli's comfy.lock.yaml: {"models": [{"model", "url", "paths": [{"path"}], "hash", "type"}]}, and its build files
  (`comfy-build/1`): {"definition": {"models": [{"type", "filename", "sourceUri", "sha256"}]}}; both as of 1.23.0.
- comfy-pack's snapshot.json: {"models": [{"filename": "models/…", "sha256", "size", "source", "disabled"}]}; 0.4.4.
- A text with an address in each line, and behind it, if it likes, the folder or the path that it is for.
"""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from comfyport.intake.wanted import Reading, Wanted

_SHA256 = re.compile(r"[0-9a-f]{64}")
# What the Manager, and after it comfy-cli, call a kind of model -> the folder (its manager_server.py).
_FOLDERS = {
    "checkpoint": "checkpoints",
    "checkpoints": "checkpoints",
    "unclip": "checkpoints",
    "clip": "text_encoders",
    "text_encoders": "text_encoders",
    "vae": "vae",
    "lora": "loras",
    "loras": "loras",
    "t2i-adapter": "controlnet",
    "t2i-style": "controlnet",
    "controlnet": "controlnet",
    "clip_vision": "clip_vision",
    "gligen": "gligen",
    "upscale": "upscale_models",
    "upscale_models": "upscale_models",
    "embedding": "embeddings",
    "embeddings": "embeddings",
    "unet": "diffusion_models",
    "diffusion_model": "diffusion_models",
    "diffusion_models": "diffusion_models",
}


def manager_list(document: dict[str, Any]) -> Reading:
    """ComfyUI-Manager's list."""
    wanted, remarks = [], []
    for each in _objects(document.get("models")):
        folder, name = _text(each.get("save_path")), _text(each.get("filename"))
        if folder.startswith("custom_nodes"):
            remarks.append(f"{name} belongs into {folder}, outside of models/: its custom node fetches it")
        elif name.startswith("<"):
            remarks.append(f"{each.get('name')} is a whole repository ({each.get('url')}): name its files one by one")
        else:
            kind = _FOLDERS.get(_text(each.get("type")).lower(), "")
            wanted.append(Wanted(name, kind if folder in ("", "default") else folder, _addresses(each.get("url"))))
    return Reading("a model list of ComfyUI-Manager", tuple(wanted), tuple(remarks))


def cli_lock(document: dict[str, Any]) -> Reading:
    """comfy-cli's lock."""
    wanted = []
    for each in _objects(document.get("models")):
        paths = [_text(path.get("path")) for path in _objects(each.get("paths"))]
        name = _text(each.get("model"))
        folder, within = _below_models(paths[0], name) if paths else ("", name)
        folder = folder or _FOLDERS.get(_text(each.get("type")).lower(), "")
        wanted.append(Wanted(within, folder, _addresses(each.get("url")), _digest(each.get("hash"))))
    return Reading("a lock of comfy-cli", tuple(wanted))


def cli_build(document: dict[str, Any]) -> Reading:
    """comfy-cli's build file."""
    definition = document.get("definition")
    models = definition.get("models") if isinstance(definition, dict) else None
    wanted = tuple(
        Wanted(
            _text(each.get("filename")),
            _FOLDERS.get(_text(each.get("type")).lower(), _text(each.get("type"))),
            _addresses(each.get("sourceUri")),
            _digest(each.get("sha256")),
            _size(each.get("sizeBytes")),
        )
        for each in _objects(models)
    )
    return Reading("a build file of comfy-cli", wanted)


def pack_snapshot(document: dict[str, Any]) -> Reading:
    """comfy-pack's snapshot; models that are switched off in it are left out."""
    wanted, remarks = [], []
    for each in _objects(document.get("models")):
        folder, name = _below_models(_text(each.get("filename")), "")
        if each.get("disabled"):
            remarks.append(f"{folder}/{name} is switched off in the snapshot")
            continue
        source = each.get("source")
        addresses = tuple(_pack_addresses(source)) if isinstance(source, dict) else ()
        wanted.append(Wanted(name, folder, addresses, _digest(each.get("sha256")), _size(each.get("size"))))
    return Reading("a snapshot of comfy-pack", tuple(wanted), tuple(remarks))


def address_list(text: str) -> Reading:
    """A text with `ADDRESS [FOLDER | FOLDER/NAME]` in each line; `#` begins a remark."""
    wanted = []
    for line in text.splitlines():
        words = re.sub(r"(^|\s)#.*", "", line).split()
        if words:
            place = words[1].strip("/") if len(words) > 1 else ""
            path = PurePosixPath(place)
            is_file = bool(path.suffix) and "/" in place
            folder, name = (str(path.parent), path.name) if is_file else (place, "")
            wanted.append(Wanted(name, folder, (words[0],)))
    return Reading("a list of addresses", tuple(wanted))


def _pack_addresses(source: dict[str, Any]) -> Iterator[str]:
    """Where comfy-pack has found a file; what it calls the address of one on the Hub may be only its path there."""
    repo, commit, path = (source.get(key) for key in ("repo", "commit", "path"))
    if source.get("source") == "huggingface" and repo and commit and path:
        yield f"hf://{repo}@{commit}/{path}"
    for key in ("download_url", "url"):
        yield from (address for address in _addresses(source.get(key)) if address.startswith(("http://", "https://")))


def _below_models(path: str, name: str) -> tuple[str, str]:
    """The folder below `models/` and the name that a path, which may be absolute, stands for."""
    parts = list(PurePosixPath(path.replace("\\", "/")).parts)
    if "models" in parts:
        parts = parts[parts.index("models") + 1 :]
    elif parts and parts[0] in ("/", "~"):
        return "", name or parts[-1]
    if parts and (not name or parts[-1] == name):
        return "/".join(parts[:-1]), parts[-1]
    return "/".join(parts), name


def _addresses(value: Any) -> tuple[str, ...]:
    return (value.strip(),) if isinstance(value, str) and value.strip() else ()


def _digest(value: Any) -> str | None:
    text = _text(value).lower().removeprefix("sha256:")
    return text if _SHA256.fullmatch(text) else None


def _size(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _objects(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
