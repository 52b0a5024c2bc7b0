"""Reads a list of models that somebody has written down: a line for each, or the JSON that workflows have."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from comfyport.errors import UsageError


def read(file: Path, *, groups: Sequence[str]) -> list[dict[str, Any]]:
    """What the list asks for: `directory`, `address`, `name` and `groups` of each. Raises UsageError."""
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"The list {file} cannot be read: {os.strerror(error.errno or 0).lower()}.") from None
    except ValueError:
        raise UsageError(f"The list {file} is no text.") from None
    found = _from_json(text, file) if text.lstrip()[:1] in ("[", "{") else _from_lines(text, file)
    if not found:
        raise UsageError(f"The list {file} names no model.")
    return [{**request, "groups": list(groups)} for request in found]


def _from_lines(text: str, file: Path) -> list[dict[str, Any]]:
    requests = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) not in (2, 3):
            raise UsageError(f"{file}, line {number}: write DIRECTORY ADDRESS, and NAME if it shall have another.")
        requests.append({"directory": words[0], "address": words[1], "name": words[2] if len(words) == 3 else ""})
    return requests


def _from_json(text: str, file: Path) -> list[dict[str, Any]]:
    try:
        document = json.loads(text)
        listed = document["models"] if isinstance(document, dict) else document
        return [
            {"directory": str(model["directory"]), "address": str(model["url"]), "name": str(model.get("name", ""))}
            for model in listed
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UsageError(f'The list {file} must be JSON like [{{"directory", "url", "name"}}].') from None
