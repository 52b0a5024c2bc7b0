"""A comfyport app on Modal as an endpoint: calls of its GPU class, without the HTTP face (modal 1.6)."""

import asyncio
from typing import TYPE_CHECKING, Any

from comfyport.cli.endpoints import State
from comfyport.errors import EndpointFailed

if TYPE_CHECKING:
    from comfyport.serve.job import Job


class ModalEndpoint:
    """The class `ComfyUI` of a deployed app; Modal's own credentials open it."""

    def __init__(self, app: str) -> None:
        try:
            import modal

            from comfyport.serve.modal_service import calls, following
            from comfyport.serve.modal_service.ledger import Ledger
        except ImportError:
            raise EndpointFailed(f"modal:{app}", "the modal package is missing: pip install comfyport[modal]") from None
        self._modal = modal
        self._calls = calls
        self._following = following
        self._ledger = Ledger(app)
        self._app = app

    def submit(self, job: dict[str, Any]) -> State:
        """Spawns a call."""
        try:
            call = self._modal.Cls.from_name(self._app, "ComfyUI")().run.spawn(job)
        except self._modal.exception.Error as error:
            raise self._failed(error) from None
        return State(call.object_id, "IN_QUEUE")

    def state(self, job_id: str) -> State:
        """What has become of a call; of one that runs, its latest progress."""
        shown = asyncio.run(self._job(job_id)).as_json()
        return State(job_id, shown["status"], shown.get("output"), shown.get("error"))

    def cancel(self, job_id: str) -> None:
        """Ends a call that waits or runs."""
        try:
            self._modal.FunctionCall.from_id(job_id).cancel()
        except self._modal.exception.Error as error:
            raise self._failed(error) from None

    async def _job(self, job_id: str) -> "Job":
        outcome = await self._calls.outcome(job_id, 0)
        account = await self._ledger.account(job_id)
        return self._following.job(job_id, None, outcome, account, lambda: self._job(job_id))

    def _failed(self, error: Exception) -> EndpointFailed:
        return EndpointFailed(f"modal:{self._app}", f"{error}")
