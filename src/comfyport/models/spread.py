"""Divides a download among containers that each have a network of their own."""

import math
from collections.abc import Sequence

from comfyport.models.lock import Entry


def spread(entries: Sequence[Entry], *, most: int, bytes_each: int) -> list[tuple[Entry, ...]]:
    """Batches of about the same size: one for each `bytes_each` that are to be fetched, at most `most`.

    What has the same content stays together, since it is fetched once. The largest go first, each to the batch that is
    smallest so far; entries keep their order within one. No entries make no batch.
    """
    contents: dict[str, list[Entry]] = {}
    for entry in entries:
        contents.setdefault(entry.sha256 or entry.path, []).append(entry)
    total = sum(map(_size, contents.values()))
    count = min(most, len(contents), max(1, math.ceil(total / bytes_each)))
    batches: list[list[Entry]] = [[] for _ in range(count)]
    loads = [0] * count
    for same in sorted(contents.values(), key=_size, reverse=True):
        lightest = loads.index(min(loads))
        batches[lightest] += same
        loads[lightest] += _size(same)
    order = {entry.path: place for place, entry in enumerate(entries)}
    return [tuple(sorted(batch, key=lambda entry: order[entry.path])) for batch in batches]


def _size(same: Sequence[Entry]) -> int:
    return same[0].size or 0
