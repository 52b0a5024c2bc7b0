"""Is this worker fit for jobs? The SDK asks before it takes the first; if not, it tells the platform why, and exits."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from comfyport.errors import ComfyportError
from comfyport.serve.host import Host, stop_shared
from comfyport.serve.runpod_worker.machine import MachineCheck, MachineUnfit

Register = Callable[[Callable[[], Awaitable[None]]], Any]


def register(register_check: Register, start: Host | ComfyportError, machine: MachineCheck | None) -> None:
    """Registers our checks with the SDK; RunPod shows their names, and of a failed one its message.

    `start` is what came of starting the worker (the GPU answers its driver; ComfyUI and the download are launched),
    `machine` the checks of RunPod's own that are under way.
    """

    async def worker_starts() -> None:
        if isinstance(start, ComfyportError):
            await _give_up(start)

    async def machine_is_fit() -> None:
        if machine:
            try:
                await machine.passed()
            except MachineUnfit as error:
                await _give_up(error)

    async def comfyui_and_models_are_ready() -> None:
        if isinstance(start, Host) and (error := await _wait_ready(start)):
            await _give_up(error)

    for check in (worker_starts, machine_is_fit, comfyui_and_models_are_ready):
        register_check(check)


async def _wait_ready(host: Host) -> ComfyportError | None:
    """Returns when jobs may be taken, or why that will not be.

    Until then a job waits in RunPod's queue, from where it can go to a worker that is ready.
    """
    ready = asyncio.ensure_future(host.wait_ready())
    failed = asyncio.ensure_future(host.wait_failure())
    await asyncio.wait({ready, failed}, return_when=asyncio.FIRST_COMPLETED)
    if failed.done():
        ready.cancel()
        return failed.result()
    failed.cancel()
    try:
        await ready
    except ComfyportError as error:
        return error
    return None


async def _give_up(error: Exception) -> None:
    """Ends the worker before the SDK ends the process, which takes nothing along."""
    await asyncio.to_thread(stop_shared)
    raise error
