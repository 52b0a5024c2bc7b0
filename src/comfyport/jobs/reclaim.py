"""Gets ComfyUI back from a prompt that may not go on: takes it out, and starts ComfyUI again if it does not let go."""

import asyncio
import logging

from comfyport.comfyui.client import Client, Queued
from comfyport.comfyui.process import ComfyUI
from comfyport.errors import ComfyportError

logger = logging.getLogger(__name__)

# ComfyUI looks at its interrupt flag between nodes and steps: this long a cancelled job waits for that.
CANCEL_SECONDS = 2.0
POLL_SECONDS = 0.05


class Reclaimer:
    """Takes prompts back from one ComfyUI; `hang_seconds` after that was in vain, it is replaced."""

    def __init__(self, client: Client, comfyui: ComfyUI, *, hang_seconds: float) -> None:
        self._client = client
        self._comfyui = comfyui
        self._hang_seconds = hang_seconds
        self._watches: set[asyncio.Task[None]] = set()

    async def take_back(self, submitting: "asyncio.Future[Queued]") -> None:
        """Takes the prompt that `submitting` queues out of ComfyUI, running or waiting; no other prompt is touched.

        Returns as soon as ComfyUI is free of it, or after two seconds; it is then watched until it is.
        """
        watch = asyncio.create_task(self._watch(submitting), name="reclaim")
        self._watches.add(watch)
        watch.add_done_callback(self._watches.discard)
        await asyncio.wait({watch}, timeout=CANCEL_SECONDS)

    async def close(self) -> None:
        """Ends all watching."""
        for watch in self._watches:
            watch.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)

    async def _watch(self, submitting: "asyncio.Future[Queued]") -> None:
        life = self._comfyui.health.pid
        try:
            async with asyncio.timeout(self._hang_seconds):
                prompt_id = (await submitting).prompt_id
                logger.info("taking the prompt back prompt_id=%s", prompt_id)
                while self._lives_on(life) and not await self._is_out(prompt_id):
                    await asyncio.sleep(POLL_SECONDS)
        except ComfyportError:
            logger.debug("there is no prompt to take back", exc_info=True)
        except TimeoutError:
            if self._lives_on(life):
                await self._comfyui.replace(f"it did not let go of a cancelled job within {self._hang_seconds:g} s")

    def _lives_on(self, life: int | None) -> bool:
        """Whether the ComfyUI that took the prompt is still the one that runs."""
        return self._comfyui.health.pid == life and self._comfyui.health.state == "ready"

    async def _is_out(self, prompt_id: str) -> bool:
        try:
            await self._client.cancel(prompt_id)
            return not await self._client.is_queued(prompt_id)
        except ComfyportError:
            return False
