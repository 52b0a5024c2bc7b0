"""Is there a GPU that can be used? Run as a program, so that the asking process never holds a CUDA context.

Asks the driver itself (libcuda: cuInit, cuDeviceGetCount, cuDeviceGetName; the CUDA Driver API), which takes
milliseconds where importing torch takes seconds.
"""

import asyncio
import ctypes
import sys

from comfyport.errors import NoGPU

_NO_DEVICE = 100


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


def names() -> list[str]:
    """The names of the GPUs that the driver offers. Raises NoGPU."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        raise NoGPU("the NVIDIA driver's library libcuda.so.1 is not there") from None
    result = cuda.cuInit(0)
    if result and result != _NO_DEVICE:
        raise NoGPU(f"the driver cannot start (cuInit gives error {result})")
    count = ctypes.c_int()
    if result or cuda.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        raise NoGPU("the driver sees no device")
    return [_name(cuda, number) for number in range(count.value)]


def _name(cuda: ctypes.CDLL, number: int) -> str:
    buffer = ctypes.create_string_buffer(100)
    cuda.cuDeviceGetName(buffer, len(buffer), number)
    return buffer.value.decode()


if __name__ == "__main__":
    try:
        sys.stdout.write(", ".join(names()))
    except NoGPU as error:
        sys.exit(error.message)
