from typing import Any

import torch

_initialized = False


def is_initialized() -> bool:
    return _initialized


def _lazy_init() -> None:
    global _initialized
    if not _initialized:
        torch._C._cuda_init()
        _initialized = True


def init() -> None:
    _lazy_init()


def is_available() -> bool:
    return torch._C._cuda_getDeviceCount() > 0


def device_count() -> int:
    return torch._C._cuda_getDeviceCount()


def current_device() -> int:
    _lazy_init()
    return 0


def get_device_name(device: Any = None) -> str:
    _lazy_init()
    return "Small GPU"


def get_device_capability(device: Any = None) -> tuple[int, int]:
    _lazy_init()
    return (8, 9)


def memory_stats(device: Any = None) -> dict[str, int]:
    _lazy_init()
    return {"reserved_bytes.all.current": 0}


def mem_get_info(device: Any = None) -> tuple[int, int]:
    _lazy_init()
    return (8 << 30, 8 << 30)
