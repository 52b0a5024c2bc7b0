"""Removes outputs from this disk: those of jobs that are over, however they ended, and what a worker before left.

ComfyUI answers a node whose inputs have not changed from its cache, with the names of the files that it wrote then. By
default it remembers the nodes of the last prompt (comfy_execution/caching.py, HierarchicalCache), so the files of the
last prompt that ended well stay until the next one has. A cache that remembers more is followed as far as can be told
from here; where it names a file that is gone after all, the node is run again (`Performer`).
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from comfyport.comfyui.client import StoredFile
from comfyport.comfyui.storage import Storage
from comfyport.jobs.reports import Report

# How many nodes are remembered by a cache that is bounded by memory, nobody knows.
UNKNOWN = 100
# The kernel stamps files with the time of its last tick.
TICK_SECONDS = 0.1

Group = frozenset[StoredFile]
Hold = Callable[[tuple[Report, ...]], None]


class Leftovers:
    """The outputs on this disk that are not to be removed yet.

    `nodes`: of how many nodes ComfyUI's cache remembers the files besides those of the last prompt; None: of none at
    all.
    """

    def __init__(self, storage: Storage, nodes: int | None) -> None:
        self._storage = storage
        self._nodes = nodes
        self._cached: OrderedDict[Group, None] = OrderedDict()
        self._running: dict[object, float] = {}
        self._delivering: dict[object, tuple[Group, ...]] = {}

    @contextmanager
    def after_job(self) -> Iterator[Hold]:
        """Removes at the end what is left of this job and of those before it; files of jobs that still run stay.

        Gives a function for what the job's prompt put out: it stays until the job is over, and while it is cached.
        """
        job = object()
        self._running[job] = time.time()
        try:
            yield partial(self._hold, job)
        finally:
            del self._running[job]
            self._delivering.pop(job, None)
            self.sweep()

    def clear(self) -> None:
        """Removes all, while ComfyUI does not run: it has forgotten them, or will with its end."""
        self._cached.clear()
        self.sweep()

    def sweep(self) -> None:
        """Removes all outputs but those of running jobs and those that the cache may name."""
        before = min(self._running.values(), default=float("inf")) - TICK_SECONDS
        held = [group for groups in self._delivering.values() for group in groups]
        self._storage.sweep(before=before, keep=frozenset().union(*self._cached, *held))

    def _hold(self, job: object, reports: tuple[Report, ...]) -> None:
        by_node: dict[str, set[StoredFile]] = {}
        for report in reports:
            by_node.setdefault(report.node_id, set()).add(report.stored)
        groups = tuple(frozenset(files) for files in by_node.values())
        self._delivering[job] = groups
        if self._nodes is None:
            return
        for group in groups:
            self._cached[group] = None
            self._cached.move_to_end(group)
        while len(self._cached) > self._nodes + len(groups):
            self._cached.popitem(last=False)


def nodes_cached(arguments: tuple[str, ...]) -> int | None:
    """Of how many nodes ComfyUI remembers files besides the last prompt's, by its command line (comfy/cli_args.py).

    None if it remembers nothing.
    """
    for number, argument in enumerate(arguments):
        name, _, value = argument.partition("=")
        if name == "--cache-none":
            return None
        if name == "--cache-lru":
            count = value or "".join(arguments[number + 1 : number + 2])
            return int(count) if count.isdecimal() else UNKNOWN
        if name == "--cache-ram":
            return UNKNOWN
    return 0
