"""Changes a JSON text so that it says something else, and leaves what still holds as it was written.

A lock is edited by people too: an entry that a command does not touch keeps its order, its line breaks and its spaces,
so that a change reads well in git. What is new is written in the style of what stands beside it.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from comfyport.models.spans import Slot, Span, locate

_SPACE_AT_END = re.compile(r"[ \t\r\n]*$")
_INDENT = re.compile(r"\r?\n([ \t]+)\S")


@dataclass(frozen=True)
class _Edit:
    """What takes the place of a piece of the text."""

    start: int
    end: int
    text: str


def rewrite(text: str, wanted: Any) -> str:
    """`text`, which is JSON, changed in as few places as are needed for it to say `wanted`."""
    edits = _Editor(_Style.of(text)).edits(locate(text), json.loads(text), wanted)
    # From behind, so that places stay right; where two edits begin together, a piece goes before another comes.
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.end), reverse=True):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text


@dataclass(frozen=True)
class _Style:
    """How a text is laid out: `unit` is one step of indentation; without a line break, all stands in one line."""

    text: str
    unit: str
    newline: str

    @classmethod
    def of(cls, text: str) -> "_Style":
        indent = _INDENT.search(text)
        newline = "" if "\n" not in text.strip() else "\r\n" if "\r\n" in text else "\n"
        return cls(text, indent[1] if indent else "  ", newline)

    def written(self, value: Any, line_break: str) -> str:
        """`value` as JSON: with `line_break` before each of its lines, or in one line if that is empty."""
        if not line_break:
            return json.dumps(value, ensure_ascii=False)
        return json.dumps(value, ensure_ascii=False, indent=self.unit).replace("\n", line_break)

    def line_break(self, place: int) -> str:
        """A line break with the indentation of the line that `place` is on; empty if all stands in one line."""
        line = self.text[self.text.rfind("\n", 0, place) + 1 : place]
        return self.newline and self.newline + line[: len(line) - len(line.lstrip(" \t"))]

    def lead(self, span: Span, slots: Sequence[Slot]) -> str:
        """The space before a slot of the object or array at `span`, of which `slots` stay."""
        if not slots:
            line_break = self.line_break(span.start)
            return line_break and line_break + self.unit
        space = _SPACE_AT_END.search(self.text[: slots[-1].start])
        lead = space[0] if space else ""
        return lead if len(slots) > 1 or "\n" in lead else " "


@dataclass(frozen=True)
class _Editor:
    """Finds the edits for one text."""

    style: _Style

    def edits(self, span: Span, now: Any, wanted: Any) -> Iterator[_Edit]:
        """What to change for the value at `span`, which is `now`, to be `wanted`."""
        if isinstance(now, dict) and isinstance(wanted, dict) and now.keys() & wanted.keys():
            yield from self._in_object(span, now, wanted)
        elif isinstance(now, list) and isinstance(wanted, list) and len(wanted) >= len(now):
            yield from self._in_array(span, now, wanted)
        elif isinstance(now, list) and isinstance(wanted, list) and (places := _places(wanted, now)) is not None:
            yield from _cuts(span, [span.slots[place] for place in places])
        elif not _same(now, wanted):
            yield _Edit(span.start, span.end, self.style.written(wanted, self.style.line_break(span.start)))

    def _in_object(self, span: Span, now: dict[str, Any], wanted: dict[str, Any]) -> Iterator[_Edit]:
        # Of a key that stands twice, the last counts.
        slot_of = {slot.key: slot for slot in span.slots}
        kept = [slot for slot in span.slots if slot.key in wanted]
        yield from _cuts(span, kept)
        before: Slot | None = None
        added: dict[str, Any] = {}
        for key, value in wanted.items():
            if key in now:
                yield from self._additions(span, kept, before, list(added.items()))
                before, added = slot_of[key], {}
                yield from self.edits(before.value, now[key], value)
            else:
                added[key] = value
        yield from self._additions(span, kept, before, list(added.items()))

    def _in_array(self, span: Span, now: list[Any], wanted: list[Any]) -> Iterator[_Edit]:
        for slot, old, new in zip(span.slots, now, wanted, strict=False):
            yield from self.edits(slot.value, old, new)
        last = span.slots[-1] if span.slots else None
        yield from self._additions(span, span.slots, last, [(None, value) for value in wanted[len(now) :]])

    def _additions(
        self, span: Span, kept: Sequence[Slot], before: Slot | None, added: Sequence[tuple[str | None, Any]]
    ) -> Iterator[_Edit]:
        """Puts values, of an object with their keys, behind the slot `before`, or in front if that is None."""
        if not added:
            return
        lead = self.style.lead(span, kept)
        written = [self._slot(key, value, lead, kept) for key, value in added]
        if before:
            yield _Edit(before.end, before.end, "".join(f",{lead}{each}" for each in written))
        elif span.slots:
            yield _Edit(span.slots[0].start, span.slots[0].start, "".join(f"{each},{lead}" for each in written))
        else:
            inside = ",".join(lead + each for each in written)
            yield _Edit(span.start, span.end, _between(self.style, span, inside))

    def _slot(self, key: str | None, value: Any, lead: str, beside: Sequence[Slot]) -> str:
        # Where items have a line each, a new one gets one too.
        flat = key is None and beside and not any("\n" in self.style.text[slot.start : slot.end] for slot in beside)
        text = self.style.written(value, "" if flat or "\n" not in lead else lead)
        return text if key is None else f"{json.dumps(key, ensure_ascii=False)}: {text}"


def _between(style: _Style, span: Span, inside: str) -> str:
    opening, closing = style.text[span.start], style.text[span.end - 1]
    return opening + inside + style.line_break(span.start) + closing


def _cuts(span: Span, kept: Sequence[Slot]) -> Iterator[_Edit]:
    """Cuts out all slots but `kept`, each with the comma behind it, or the one in front if nothing follows."""
    if len(kept) == len(span.slots):
        return
    if not kept:
        yield _Edit(span.start + 1, span.end - 1, "")
        return
    for slot, following in zip(span.slots, span.slots[1:], strict=False):
        if slot not in kept and slot.start < kept[-1].start:
            yield _Edit(slot.start, following.start, "")
    yield _Edit(kept[-1].end, span.slots[-1].end, "")


def _places(short: list[Any], long: list[Any]) -> list[int] | None:
    """Where in `long` the items of `short` stand, in their order; None if they do not all."""
    places: list[int] = []
    for item in short:
        after = places[-1] + 1 if places else 0
        found = next((place for place in range(after, len(long)) if _same(long[place], item)), None)
        if found is None:
            return None
        places.append(found)
    return places


def _same(one: Any, other: Any) -> bool:
    # In Python 1 == True, and 1 == 1.0.
    return json.dumps(one) == json.dumps(other)
