"""A ComfyUI that is started without its GPU, through `deferred_cuda.py`: how it is launched, and given the GPU."""

import asyncio
import json
import logging
from dataclasses import dataclass
from pathlib import Path

from comfyport.comfyui.launch import Launch
from comfyport.errors import SnapshotFailed

logger = logging.getLogger(__name__)

PROGRAM = Path(__file__).with_name("deferred_cuda.py")
# CUDA's first start on a machine takes seconds.
ANSWER_SECONDS = 120.0


@dataclass(frozen=True)
class Deferred:
    """The GPU of the ComfyUI at `port`, which it gets later."""

    port: int

    @property
    def launch(self) -> Launch:
        """How that ComfyUI is launched."""
        return Launch(through=(str(PROGRAM), self._name))

    async def rehearse(self) -> None:
        """Checks that the GPU can be attached later. Raises SnapshotFailed if this ComfyUI is not made as it was."""
        await self._ask("rehearse")

    async def attach(self) -> str:
        """Gives ComfyUI the GPU; the GPU's name. Raises SnapshotFailed."""
        return await self._ask("attach")

    @property
    def _name(self) -> str:
        return f"comfyport-gpu-{self.port}"

    async def _ask(self, action: str) -> str:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                reader, writer = await asyncio.open_unix_connection(f"\0{self._name}")
                writer.write(f"{action}\n".encode())
                answer = json.loads(await reader.readline())
                writer.close()
                await writer.wait_closed()
        except (OSError, ValueError, TimeoutError) as error:
            raise SnapshotFailed(f"ComfyUI does not answer ({error or type(error).__name__})") from None
        for place in answer["early"]:
            logger.warning("%s wanted the GPU before there was one; what it decided by that holds still", place)
        if answer["problem"]:
            raise SnapshotFailed(answer["problem"])
        return str(answer.get("device", ""))
