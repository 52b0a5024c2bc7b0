"""What ComfyUI's module of this name decides as it is imported; $CHANGED makes it another one than comfyport knows."""

import os
from typing import Any

import torch

CHANGED = os.environ.get("CHANGED", "")


def get_torch_device() -> Any:
    return torch.device("cpu" if CHANGED == "device" else torch.cuda.current_device())


def get_total_memory(device: Any) -> int:
    return torch.cuda.mem_get_info(device)[1]


if CHANGED != "name":
    total_vram = get_total_memory(get_torch_device()) / 2**20
if CHANGED == "counts":
    reserved_vram = total_vram
