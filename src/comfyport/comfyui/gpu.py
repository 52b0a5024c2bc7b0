"""Is there a GPU that can be used? Run as a program, so that the asking process never holds a CUDA context.

Asks the driver itself (libcuda, the CUDA Driver API), which takes
milliseconds where importing torch takes seconds.
"""

import asyncio
import ctypes
import sys
from dataclasses import dataclass

from comfyport.errors import NoGPU

_NO_DEVICE = 100


@dataclass(frozen=True)
class Device:
    """A GPU: its name, and its memory in bytes."""

    name: str
    memory: int


async def check() -> str:
    """The names of the GPUs, separated by commas. Raises NoGPU."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await child.communicate()
    text = said.decode(errors="replace").strip()
    if child.returncode:
        raise NoGPU(text or f"the check ended with {child.returncode}")
    return text


def devices() -> list[Device]:
    """The GPUs that the driver offers. Raises NoGPU."""
    cuda = _driver()
    result = cuda.cuInit(0)
    if result and result != _NO_DEVICE:
        raise NoGPU(f"the driver cannot start (cuInit gives error {result})")
    count = ctypes.c_int()
    if result or cuda.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        raise NoGPU("the driver sees no device")
    return [_device(cuda, number) for number in range(count.value)]


def cuda_version() -> tuple[int, int]:
    """The newest CUDA that the driver serves, major and minor. Raises NoGPU."""
    version = ctypes.c_int()
    if _driver().cuDriverGetVersion(ctypes.byref(version)):
        raise NoGPU("the driver does not tell its version")
    return version.value // 1000, version.value % 1000 // 10


def _driver() -> ctypes.CDLL:
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError:
        raise NoGPU("the NVIDIA driver's library libcuda.so.1 is not there") from None


def _device(cuda: ctypes.CDLL, number: int) -> Device:
    name, memory = ctypes.create_string_buffer(100), ctypes.c_size_t()
    cuda.cuDeviceGetName(name, len(name), number)
    cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), number)
    return Device(name.value.decode(), memory.value)


if __name__ == "__main__":
    try:
        sys.stdout.write(", ".join(device.name for device in devices()))
    except NoGPU as error:
        sys.exit(error.message)
