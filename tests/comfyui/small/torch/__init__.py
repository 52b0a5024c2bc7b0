"""What the start of ComfyUI asks of torch, where a GPU is there as long as the file $GPU_FILE is, or in an emulated
Modal container once it is restored.

As with NVIDIA's driver, a process that has asked for the GPU before there was one does not find it later.
"""

import os
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

_asked: list[bool] = []


def _count() -> int:
    file = os.environ.get("GPU_FILE") or os.environ["MODAL_RESTORE_STATE_PATH"]
    _asked.append(Path(file).exists())
    return int(_asked[0])


def _start() -> None:
    if not _count():
        raise RuntimeError("No CUDA GPUs are available")


_C = SimpleNamespace(_cuda_getDeviceCount=_count, _cuda_init=_start)


class device:  # noqa: N801 - as torch has it
    def __init__(self, place: Any) -> None:
        self.place = f"cuda:{place}" if isinstance(place, int) else str(place)

    def __str__(self) -> str:
        return self.place


class ones:  # noqa: N801 - as torch has it
    def __init__(self, count: int, device: device) -> None:
        cuda._lazy_init()
        self.number = 1

    def add(self, more: int) -> "ones":
        self.number += more
        return self

    def item(self) -> int:
        return self.number


def seed() -> None:
    random.seed()


from torch import cuda  # noqa: E402
