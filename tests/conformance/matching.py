"""The small language of the cases: what may stand in a job in place of a value, and in an answer in place of one."""

import base64
import io
import json
import re
from collections.abc import Iterator
from typing import Any

from PIL import Image

from tests.conftest import png


def filled(job: Any) -> Any:
    """A job with its pictures drawn and its JSON strings written."""
    match job:
        case {"$png": {"size": [width, height], "colour": [red, green, blue]}, **rest}:
            return rest.get("before", "") + png((width, height), (red, green, blue))
        case {"$json": value}:
            return json.dumps(filled(value))
        case dict():
            return {key: filled(value) for key, value in job.items()}
        case list():
            return [filled(value) for value in job]
    return job


def differences(expected: Any, actual: Any, place: str = "answer") -> Iterator[str]:
    """Where an answer is not what a case expects. Of an object only the keys that are expected are looked at."""
    match expected:
        case {"$absent": _}:
            yield f"{place} is there"
        case {"$matches": pattern}:
            if not isinstance(actual, str) or not re.fullmatch(pattern, actual):
                yield f"{place} is {actual!r}, which does not match {pattern!r}"
        case {"$contains": texts}:
            whole = actual if isinstance(actual, str) else json.dumps(actual, ensure_ascii=False)
            yield from (f"{place} is {whole!r}, which lacks {text!r}" for text in texts if text not in whole)
        case {"$lacks": texts}:
            yield from (f"{place} is {actual!r}, which has {text!r}" for text in texts if text in actual)
        case {"$number": _}:
            if isinstance(actual, bool) or not isinstance(actual, int | float):
                yield f"{place} is {actual!r}, which is no number"
        case {"$picture": picture}:
            yield from _differences_of_picture(picture, actual, place)
        case {"$unordered": items}:
            yield from _differences_of_set(items, actual, place)
        case dict():
            yield from _differences_of_object(expected, actual, place)
        case list():
            if not isinstance(actual, list) or len(actual) != len(expected):
                yield f"{place} is {actual!r}, not {len(expected)} items"
                return
            for number, (one, other) in enumerate(zip(expected, actual, strict=True)):
                yield from differences(one, other, f"{place}[{number}]")
        case _:
            if expected != actual:
                yield f"{place} is {actual!r}, not {expected!r}"


def _differences_of_object(expected: dict[str, Any], actual: Any, place: str) -> Iterator[str]:
    if not isinstance(actual, dict):
        yield f"{place} is {actual!r}, which is no object"
        return
    for key, value in expected.items():
        if key in actual:
            yield from differences(value, actual[key], f"{place}.{key}")
        elif not (isinstance(value, dict) and "$absent" in value):
            yield f"{place}.{key} is not there"


def _differences_of_set(items: list[Any], actual: Any, place: str) -> Iterator[str]:
    left = list(actual) if isinstance(actual, list) else []
    for item in items:
        found = next((other for other in left if not any(differences(item, other))), None)
        if found is None:
            yield f"{place} has nothing like {item!r}: {actual!r}"
            return
        left.remove(found)
    if left:
        yield f"{place} has {len(left)} more than expected"


def _differences_of_picture(expected: dict[str, Any], actual: Any, place: str) -> Iterator[str]:
    """Compares size and the colour of the first pixel."""
    picture = Image.open(io.BytesIO(base64.b64decode(actual, validate=True))).convert("RGB")
    if list(picture.size) != expected["size"]:
        yield f"{place} is a picture of {picture.size}, not {expected['size']}"
    colour = list(picture.getpixel((0, 0)))
    if colour != expected.get("colour", colour):
        yield f"{place} is a picture of the colour {colour}, not {expected['colour']}"
