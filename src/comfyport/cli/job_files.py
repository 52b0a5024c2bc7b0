"""The files of a job on the side of whoever sends it: read before, and saved after."""

import base64
import json
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

import requests

from comfyport.errors import UsageError

DOWNLOAD_SECONDS = 60.0
LISTS = ("images", "videos", "audio", "files")


def read_workflow(file: Path, comfyui: str | None = None) -> dict[str, Any]:
    """The job's input: from a workflow in either format, or from a job (`{"input": …}`) as examples have one.

    One of the editor is converted as the ComfyUI at the address `comfyui` reads it. Raises UsageError.
    """
    try:
        given = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror or error}.") from None
    except ValueError as error:
        raise UsageError(f"{file} is not JSON: {error}.") from None
    if not isinstance(given, dict):
        raise UsageError(f"{file} is not a workflow: it must be an object that maps node ids to nodes.")
    if isinstance(given.get("input"), dict):
        return dict(given["input"])
    if isinstance(given.get("nodes"), list):
        from comfyport.cli.conversion import converted

        return {"workflow": converted(given, file, comfyui)}
    return {"workflow": given}


def inputs_from(given: Iterable[str], key: str) -> list[dict[str, str]]:
    """The job's `images` or `files`: each `PATH` or `NAME=PATH`, read and encoded under `key`. Raises UsageError."""
    found = []
    for text in given:
        name, equals, path = text.partition("=")
        file = Path(path if equals else text)
        try:
            content = base64.b64encode(file.read_bytes()).decode("ascii")
        except OSError as error:
            raise UsageError(f"The input {file} cannot be read: {error.strerror or error}.") from None
        found.append({"name": name if equals else file.name, key: content})
    return found


def values_from(given: Iterable[str]) -> dict[str, Any]:
    """The job's `set`: each `NODE.INPUT=VALUE`, the value as JSON if it is that, else as text. Raises UsageError."""
    values: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or "." not in name:
            raise UsageError(f"--set {text!r} must be NODE.INPUT=VALUE, for example 6.text='a cat'.")
        try:
            values[name] = json.loads(value)
        except ValueError:
            values[name] = value
    return values


def save(answer: dict[str, Any], folder: Path) -> list[str]:
    """Writes the answer's files below `folder`; where they are now, in the answer's order.

    What was delivered to a bucket is downloaded from there; of what lies on the endpoint's volume, the path there is
    told. A file that is there already is kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return [_save(item, folder) for key in LISTS for item in answer.get(key) or ()]


def _save(item: dict[str, Any], folder: Path) -> str:
    if item["type"] == "volume":
        return f"volume:{item['data']}"
    # The name comes from elsewhere; a path in it means nothing here.
    file = _free(folder / (PurePosixPath(item["filename"].replace("\\", "/")).name or "output"))
    if item["type"] == "base64":
        file.write_bytes(base64.b64decode(item["data"]))
    else:
        with requests.get(item["data"], stream=True, timeout=DOWNLOAD_SECONDS) as response:
            response.raise_for_status()
            with file.open("wb") as opened:
                for block in response.iter_content(1 << 20):
                    opened.write(block)
    return str(file)


def _free(file: Path) -> Path:
    """`file`, or the first of `file-2`, `file-3`, … that is not there."""
    number, candidate = 1, file
    while candidate.exists():
        number += 1
        candidate = file.with_stem(f"{file.stem}-{number}")
    return candidate
