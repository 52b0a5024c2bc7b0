"""Starts ComfyUI where there is no GPU yet, and gives it one later: what a CPU memory snapshot needs (Modal).

    python deferred_cuda.py NAME /opt/ComfyUI/main.py ARGUMENTS...

Run by ComfyUI's own Python, so it imports the standard library only. It becomes main.py, and changes two things there:

- What asks CUDA about itself while ComfyUI starts is answered as on a machine with one GPU, without touching CUDA: a
  process that has asked the driver before a GPU was there never finds one. ComfyUI decides for good, as it is imported,
  by what device there is (comfy/model_management.py, comfy/ldm/modules/attention.py, comfy/ops.py, v0.3.64), so it is
  not told that there is none: it would then run with slower attention ever after, and custom nodes would stay on the
  CPU. What would need the GPU itself raises RuntimeError, as torch does without one, and is noted.
- A thread listens at the abstract Unix socket NAME and answers each line with one line of JSON, `{"problem": TEXT or
  null, "early": [PLACE...], "device": NAME}`: `rehearse` checks that all is as it must be for `attach`; `attach` shows
  the GPU, sets right what ComfyUI counted of it, computes one number on it, and seeds every random generator anew,
  which containers restored from one snapshot would share.
"""

import copy
import importlib.abc
import importlib.machinery
import json
import os
import random
import runpy
import socket
import ssl
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

# The memory that the GPU is said to have, in bytes. An odd number, so that what was counted from it is recognised.
SAID_MEMORY = 24 * 1024**3 + 4096
SAID_NAME = "GPU (not attached yet)"
MANAGEMENT = "comfy.model_management"


class Curtain:
    """Stands before torch.cuda until `raise_`; `early` are the places that wanted the GPU itself before that."""

    def __init__(self, torch: Any) -> None:
        self.torch = torch
        self.down = True
        self.early: list[str] = []
        memory = {"reserved_bytes.all.current": 0, "active_bytes.all.current": 0}
        answers: dict[str, Any] = {
            "is_available": True,
            "device_count": 1,
            "current_device": 0,
            "get_device_name": SAID_NAME,
            "memory_stats": memory,
            "mem_get_info": (SAID_MEMORY, SAID_MEMORY),
        }
        self._real: list[tuple[Any, str, Callable[..., Any]]] = []
        for name, answer in answers.items():
            self._stand_in(torch.cuda, name, partial(copy.copy, answer))
        self._stand_in(torch.cuda, "_lazy_init", self._refuse)
        self._stand_in(torch._C, "_cuda_getDeviceCount", lambda: 1)

    def raise_(self) -> None:
        """Shows torch.cuda as it is, to those as well who kept a function of it."""
        self.down = False
        for place, name, real in self._real:
            setattr(place, name, real)

    def _stand_in(self, place: Any, name: str, answer: Callable[[], Any]) -> None:
        real = getattr(place, name)

        def stand_in(*arguments: Any, **named: Any) -> Any:
            return answer() if self.down else real(*arguments, **named)

        self._real.append((place, name, real))
        setattr(place, name, stand_in)

    def _refuse(self) -> None:
        asker = next(
            (f"{frame.filename}:{frame.lineno}" for frame in reversed(traceback.extract_stack()) if _asks(frame)),
            "an extension",
        )
        if asker not in self.early:
            self.early.append(asker)
        raise RuntimeError(f"No CUDA GPUs are available: ComfyUI starts for a memory snapshot ({asker} asked)")


class AfterTorch(importlib.abc.MetaPathFinder):
    """Lowers the curtain as soon as torch is imported, whoever imports it."""

    curtain: Curtain | None = None

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Torch as it lies on the path, with the curtain behind its import; some look for it and do not import it."""
        spec = importlib.machinery.PathFinder.find_spec(name, path, target) if name == "torch" else None
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                run(module)
                self.curtain = Curtain(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


class Desk:
    """Answers at the socket; what it says is in the module's docstring."""

    def __init__(self, finder: AfterTorch) -> None:
        self._finder = finder

    def serve(self, listening: socket.socket) -> None:
        """Answers one connection after the other, for as long as ComfyUI runs."""
        actions = {"rehearse": self.rehearse, "attach": self.attach}
        while True:
            with listening.accept()[0] as connection, connection.makefile("rw", encoding="utf-8") as lines:
                action = lines.readline().strip()
                try:
                    answer = actions[action]()
                except Exception as error:  # noqa: BLE001 - whatever it is, the worker must hear of it
                    answer = {"problem": f"{type(error).__name__}: {error}"}
                curtain = self._finder.curtain
                lines.write(json.dumps({"problem": None, "early": curtain.early if curtain else [], **answer}) + "\n")

    def rehearse(self) -> dict[str, Any]:
        """Whether the GPU could be attached to this ComfyUI, as far as can be told without one."""
        curtain, management = self._finder.curtain, sys.modules.get(MANAGEMENT)
        if curtain is None or management is None:
            return {"problem": f"{'torch' if curtain is None else MANAGEMENT} was not imported at its start"}
        if curtain.torch.cuda.is_initialized():
            return {"problem": "something has started CUDA already"}
        if str(management.get_torch_device()) != "cuda:0":
            return {"problem": f"get_torch_device() is {management.get_torch_device()}, not cuda:0"}
        if management.total_vram != SAID_MEMORY / 2**20:
            return {"problem": f"total_vram is {management.total_vram}, not what torch.cuda.mem_get_info said"}
        counted = [
            name
            for name, value in vars(management).items()
            if name != "total_vram" and not isinstance(value, bool) and value in (SAID_MEMORY, SAID_MEMORY / 2**20)
        ]
        return {"problem": f"it keeps the GPU's memory in {counted[0]} too"} if counted else {}

    def attach(self) -> dict[str, Any]:
        """Gives ComfyUI the GPU that is there now."""
        problem = self.rehearse()
        curtain, management = self._finder.curtain, sys.modules.get(MANAGEMENT)
        if problem or curtain is None or management is None:
            return problem
        torch = curtain.torch
        curtain.raise_()
        torch.cuda.init()
        device = management.get_torch_device()
        vars(management)["total_vram"] = management.get_total_memory(device) / 2**20
        if torch.ones(1, device=device).add(1).item() != 2:
            return {"problem": "the GPU does not compute"}
        seed_anew(torch)
        return {"device": torch.cuda.get_device_name(device)}


def seed_anew(torch: Any) -> None:
    """Every generator that processes restored from one snapshot would share."""
    random.seed()
    ssl.RAND_add(os.urandom(32), 32.0)
    torch.seed()
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()


def _asks(frame: traceback.FrameSummary) -> bool:
    place = frame.filename
    return place != __file__ and "importlib" not in place and f"{os.sep}torch{os.sep}" not in place


def main(name: str, program: str, *arguments: str) -> None:
    """Becomes `program`, ComfyUI's main.py."""
    finder = AfterTorch()
    sys.meta_path.insert(0, finder)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind("\0" + name)
    listening.listen()
    threading.Thread(target=Desk(finder).serve, args=(listening,), name="deferred-cuda", daemon=True).start()
    sys.argv = [program, *arguments]
    # The folder of this file has modules of comfyport's, whose names are anybody's.
    sys.path[0] = str(Path(program).parent)
    runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    main(*sys.argv[1:])
