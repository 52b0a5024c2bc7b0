"""Changes the text of a lock, which stays where the person is who asked: only its text has come to this container."""

import json
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from comfyport.errors import InvalidLock
from comfyport.models.lock import Entry, Lock
from comfyport.models.paths import folded

NAME = "models.lock.json"


def read(text: str) -> Lock:
    """The lock that `text` is. Raises InvalidLock."""
    try:
        return Lock.model_validate(json.loads(text))
    except ValidationError as error:
        raise InvalidLock(NAME, [f"{problem['loc']}: {problem['msg']}" for problem in error.errors()]) from None
    except ValueError as error:
        raise InvalidLock(NAME, [f"it is not JSON: {error}"]) from None


def changed(text: str, *, added: Sequence[Entry] = (), without: Sequence[str] = ()) -> str:
    """The text with more entries, in place of those at their paths, and without those at others. Raises InvalidLock."""
    document: dict[str, Any] = json.loads(text)
    new = {folded(entry.path): entry.model_dump(mode="json", exclude_defaults=True) for entry in added}
    gone = {folded(path) for path in without}
    models = []
    for model in document["models"]:
        key = folded(f"{model['directory']}/{model['name']}")
        if key not in gone:
            models.append(new.pop(key, model))
    document["models"] = [*models, *new.values()]
    edited = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    read(edited)
    return edited
