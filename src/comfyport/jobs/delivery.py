"""Hands a job's outputs over: in the answer, in a bucket, or on the volume."""

import asyncio
import base64
from typing import Any

from comfyport.jobs.outputs import Output, Outputs
from comfyport.jobs.request import Request


class Deliverer:
    """Delivers the outputs of one worker's jobs."""

    def check(self, request: Request) -> None:
        """Raises DeliveryUnavailable when what the job asks for cannot be, before anything was spent on it."""

    async def deliver(self, outputs: Outputs, request: Request) -> dict[str, Any]:
        """The lists of the answer by kind: `images`, `videos`, … Raises DeliveryFailed."""
        lists: dict[str, Any] = {}
        for output in outputs.files:
            lists.setdefault(output.kind, []).append(await asyncio.to_thread(_in_answer, output))
        return lists


def _in_answer(output: Output) -> dict[str, Any]:
    return {
        "filename": output.stored.filename,
        "type": "base64",
        "data": base64.b64encode(output.path.read_bytes()).decode("ascii"),
        "node_id": output.node_id,
        "media_type": output.media_type,
        "size": output.size,
        "sha256": output.sha256,
    }
