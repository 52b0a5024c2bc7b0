"""Runs prompts, one at a time, in a thread of its own."""

import logging
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from emulators.comfyui.cache import Cache
from emulators.comfyui.faults import Faults
from emulators.comfyui.folders import Folders
from emulators.comfyui.node import Outcome, Preview, Run, Settings
from emulators.comfyui.order import Order
from emulators.comfyui.progress import Progress
from emulators.comfyui.prompt_queue import PromptQueue, Queued
from emulators.comfyui.sockets import Sockets
from emulators.comfyui.validate import is_link

logger = logging.getLogger(__name__)

NEEDS_MEMORY = {"KSampler", "VAEDecode", "ImageUpscaleWithModel", "ImageScale", "ImageScaleBy", "ImageInvert"}
"""The nodes in which the fault `oom` strikes."""

ENCODES_TEXT = {"CLIPTextEncode", "TextEncodeQwenImageEdit", "TextEncodeQwenImageEditPlus"}
"""The nodes in which the fault `impossible_prompt` strikes."""


class Interrupted(Exception):
    """Somebody asked for the running prompt to end."""


class OutOfMemoryError(RuntimeError):
    """What torch raises when the GPU's memory is full; ComfyUI reports it under this full name."""

    __module__ = "torch"


class Worker(threading.Thread):
    """Takes prompts from the queue until it is closed. `crash` ends the whole emulator at once."""

    def __init__(
        self,
        queue: PromptQueue,
        sockets: Sockets,
        folders: Folders,
        settings: Settings,
        faults: Faults,
        crash: Callable[[], None],
    ) -> None:
        super().__init__(name="comfyui-worker", daemon=True)
        self._queue = queue
        self._sockets = sockets
        self._folders = folders
        self._settings = settings
        self._faults = faults
        self._crash = crash
        self._cache = Cache(folders, lru=settings.cache_lru, none=settings.cache_none)
        self._interrupt = threading.Event()
        self._ended = threading.Event()

    def interrupt(self) -> None:
        """Ends the running prompt before its next node or step."""
        self._interrupt.set()

    def stop(self) -> None:
        """Ends the thread soon, whatever runs."""
        self._ended.set()
        self._queue.close()

    def run(self) -> None:
        """The thread's work."""
        while not self._queue.closed:
            queued = self._queue.take()
            if queued is not None:
                self._work(queued)
            if self._queue.wants_memory():
                self._cache.clear()

    def _work(self, queued: Queued) -> None:
        began = time.perf_counter()
        client_id = queued.extra_data.get("client_id")
        self._sockets.client_id = client_id
        progress = Progress(self._sockets, self._faults, queued.prompt_id, client_id)
        self._crash_if("crash_before")
        succeeded = self._execute(queued, progress)
        if self._ended.is_set():
            return
        shown = self._cache.all_shown()
        result = {
            name: {i: entry[key] for i, entry in shown.items()}
            for name, key in (("outputs", "output"), ("meta", "meta"))
        }
        self._sockets.node_id = None
        word = "success" if succeeded else "error"
        self._queue.finish(result, {"status_str": word, "completed": succeeded, "messages": progress.messages})
        progress.ended()
        logger.info("Prompt executed in %.2f seconds", time.perf_counter() - began)

    def _execute(self, queued: Queued, progress: Progress) -> bool:
        """Runs the nodes in order; false if one failed or the prompt was interrupted."""
        self._interrupt.clear()
        progress.note("execution_start")
        prompt, cache = queued.prompt, self._cache
        cache.begin(prompt)
        cached = [node_id for node_id in prompt if cache.values(node_id) is not None]
        progress.note("execution_cached", nodes=cached)
        executed: list[str] = []
        order = Order(prompt, queued.outputs, lambda node_id: cache.values(node_id) is not None)
        while order:
            node_id = order.next()
            if not self._node(node_id, queued, progress, executed):
                return False
            order.done(node_id)
        if "output_vanishes" in self._faults:
            self._delete_outputs()
        self._crash_if("crash_after")
        progress.note("execution_success")
        return True

    def _node(self, node_id: str, queued: Queued, progress: Progress, executed: list[str]) -> bool:
        """Runs one node unless its result is known; false if that failed."""
        shown = self._cache.shown(node_id)
        if self._cache.values(node_id) is not None:
            progress.showed(node_id, shown["output"] if shown else None)
            progress.finished(node_id)
            return True
        progress.started(node_id)
        inputs: dict[str, Any] = {}
        told = {"node_id": node_id, "node_type": queued.prompt[node_id]["class_type"], "executed": executed}
        try:
            inputs = self._inputs(node_id, queued)
            outcome = self._outcome(node_id, inputs, queued, progress)
        except Interrupted:
            logger.info("Processing interrupted")
            progress.note("execution_interrupted", to_all=True, **told)
            return False
        except Exception as error:  # noqa: BLE001 - whatever a node raises is the prompt's result
            logger.error("!!! Exception during processing !!! %s", error)
            progress.note("execution_error", **told, **self._report(error, inputs, queued))
            return False
        self._cache.keep(node_id, outcome.values, outcome.shown)
        if outcome.shown:
            progress.showed(node_id, outcome.shown)
        progress.finished(node_id)
        executed.append(node_id)
        self._crash_if("crash_during")
        return True

    def _outcome(self, node_id: str, inputs: dict[str, Any], queued: Queued, progress: Progress) -> Outcome:
        if "hang" in self._faults:
            self._ended.wait()
        self._raise_if_interrupted()
        kind = queued.prompt[node_id]["class_type"]
        if kind in NEEDS_MEMORY and self._faults.strikes("oom"):
            raise OutOfMemoryError("Allocation on device ")
        if kind in ENCODES_TEXT and any("impossible" in str(inputs.get(name)) for name in ("text", "prompt")):
            self._fail_if("impossible_prompt")

        def report(value: int, maximum: int, preview: Preview | None) -> None:
            self._raise_if_interrupted()
            progress.advanced(node_id, value, maximum, preview)

        run = Run(
            folders=self._folders,
            settings=self._settings,
            report=report,
            wait=self._wait,
        )
        return self._cache.instance(node_id).run(run, inputs)

    def _inputs(self, node_id: str, queued: Queued) -> dict[str, Any]:
        """The node's inputs with the links followed, and what it gets without being told."""
        inputs: dict[str, Any] = {}
        for name, value in queued.prompt[node_id]["inputs"].items():
            if is_link(value):
                source = self._cache.values(value[0])
                inputs[name] = source[value[1]] if source is not None else None
            else:
                inputs[name] = value
        hidden = {"PROMPT": queued.prompt, "EXTRA_PNGINFO": queued.extra_data.get("extra_pnginfo")}
        declared = self._cache.instance(node_id).inputs(self._folders).get("hidden", {})
        return inputs | {name: hidden[kind] for name, kind in declared.items()}

    def _report(self, error: Exception, inputs: dict[str, Any], queued: Queued) -> dict[str, Any]:
        """The fields of `execution_error` that describe an exception."""
        kind = type(error)
        builtin = kind.__module__ == "builtins"
        tip = "This error means you ran out of memory on your GPU." if isinstance(error, OutOfMemoryError) else ""
        return {
            "exception_message": f"{error}\n{tip}",
            "exception_type": kind.__qualname__ if builtin else f"{kind.__module__}.{kind.__qualname__}",
            "traceback": traceback.format_tb(error.__traceback__),
            "current_inputs": {name: [_plain(value)] for name, value in inputs.items()},
            "current_outputs": list(queued.prompt),
        }

    def _raise_if_interrupted(self) -> None:
        if self._interrupt.is_set() or self._ended.is_set():
            self._interrupt.clear()
            raise Interrupted

    def _wait(self, seconds: float) -> None:
        """Lets time pass; an interrupt is only noticed afterwards, as ComfyUI notices it between steps."""
        self._ended.wait(seconds)

    def _fail_if(self, fault: str) -> None:
        if self._faults.strikes(fault):
            raise ValueError(f"The emulator was asked to fail: {fault}")

    def _crash_if(self, fault: str) -> None:
        if self._faults.strikes(fault):
            self._sockets.after_all_said(self._crash)
            self._ended.wait()

    def _delete_outputs(self) -> None:
        for shown in self._cache.all_shown().values():
            for file in shown["output"].get("images", ()):
                folder = self._folders.of_type(file["type"])
                if folder is not None:
                    (folder / file["subfolder"] / file["filename"]).unlink(missing_ok=True)


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
