"""Where the parts of a JSON text stand, so that one of them can be changed and the rest stays as it was written."""

import json
import re
from dataclasses import dataclass

_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class Span:
    """A value of a JSON text, from `start` up to `end`; of an object and an array also what is in it, in order."""

    start: int
    end: int
    slots: tuple["Slot", ...] = ()


@dataclass(frozen=True)
class Slot:
    """A member of an object, which begins with its `key`, or an item of an array, whose key is None."""

    start: int
    key: str | None
    value: Span

    @property
    def end(self) -> int:
        """Where its value ends; a comma may follow."""
        return self.value.end


def locate(text: str) -> Span:
    """Where the parts of `text` stand. It must be JSON: this is no second reader, and finds no mistakes."""
    return _value(text, _past_space(text, 0))


def _value(text: str, start: int) -> Span:
    if text[start] not in "{[":
        return Span(start, _DECODER.raw_decode(text, start)[1])
    slots = []
    place = _past_space(text, start + 1)
    while text[place] not in "}]":
        slot = _slot(text, place, is_member=text[start] == "{")
        slots.append(slot)
        place = _past_space(text, slot.end)
        if text[place] == ",":
            place = _past_space(text, place + 1)
    return Span(start, place + 1, tuple(slots))


def _slot(text: str, start: int, *, is_member: bool) -> Slot:
    if not is_member:
        return Slot(start, None, _value(text, start))
    key, end = _DECODER.raw_decode(text, start)
    colon = _past_space(text, end)
    return Slot(start, key, _value(text, _past_space(text, colon + 1)))


def _past_space(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    return found.end() if found else place
