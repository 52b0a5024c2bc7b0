"""Looks at a workflow before it is queued: what ComfyUI would refuse, and what it would only stumble over later."""

from collections.abc import Callable

from comfyport.comfyui.client import Client
from comfyport.comfyui.workflow import Workflow


class Checker:
    """Checks workflows against what the ComfyUI behind `client` can run.

    `hint` says of a model's file name what would bring it, or nothing.
    """

    def __init__(self, client: Client, hint: Callable[[str], str]) -> None:
        self._client = client
        self._hint = hint

    async def check(self, workflow: Workflow) -> None:
        """Raises WorkflowRejected with everything that is wrong."""
