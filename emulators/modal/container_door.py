"""The RPCs that a container's runtime asks: one door per container, so that each question has a sender."""

import asyncio
from typing import Any

from grpclib import Status
from modal_proto import api_pb2

from emulators.modal.calls import Calls, Input
from emulators.modal.containers import Container
from emulators.modal.rpc import Empty, refused
from emulators.modal.scheduler import Scheduler
from emulators.modal.volumes import Volumes

# The runtime sends a heartbeat every 15 s and gives one 15.1 s; a held answer carries a cancellation at once.
HEARTBEAT_SECONDS = 14.0


class ContainerDoor:
    """Answers the container's own RPCs; everything else goes to the rooms that clients ask too."""

    def __init__(self, container: Container, scheduler: Scheduler[Input], calls: Calls, volumes: Volumes) -> None:
        self._container = container
        self._scheduler = scheduler
        self._calls = calls
        self._volumes = volumes

    async def container_hello(self, request: Empty) -> Empty:
        """Hears that the runtime is up; the user's code is imported next."""
        self._container.greeted = True
        return Empty()

    async def container_heartbeat(self, request: api_pb2.ContainerHeartbeatRequest) -> Any:
        """Holds the answer until an input is cancelled or the next heartbeat is due."""
        try:
            async with asyncio.timeout(HEARTBEAT_SECONDS):
                input_ids = await self._container.cancelled.get()
        except TimeoutError:
            return api_pb2.ContainerHeartbeatResponse()
        event = api_pb2.CancelInputEvent(input_ids=input_ids)
        return api_pb2.ContainerHeartbeatResponse(cancel_input_event=event)

    async def function_get_inputs(self, request: api_pb2.FunctionGetInputsRequest) -> Any:
        """Hands out inputs when there are some; the kill switch ends the container in good order."""
        self._container.ready = True
        jobs = await self._scheduler.take(self._container.function_id, self._container, max(request.batch_max_size, 1))
        if jobs is None:
            return api_pb2.FunctionGetInputsResponse(inputs=[api_pb2.FunctionGetInputsItem(kill_switch=True)])
        return api_pb2.FunctionGetInputsResponse(inputs=[_handed_out(job) for job in jobs])

    async def function_put_outputs(self, request: api_pb2.FunctionPutOutputsRequest) -> Any:
        """Takes results; a failure with retries left goes back to the queue."""
        for output in request.outputs:
            job = self._calls.input(output.input_id)
            if self._scheduler.done(self._container.function_id, self._container, job, output.result):
                self._calls.finish(job, output.result, data_format=output.data_format, task_id=self._container.task_id)
        return Empty()

    async def function_get_dynamic_concurrency(self, request: api_pb2.FunctionGetDynamicConcurrencyRequest) -> Any:
        """Lets the container take more than its target while inputs wait."""
        backlog = self._scheduler.stats(self._container.function_id).backlog
        concurrency = request.max_concurrency if backlog else request.target_concurrency
        return api_pb2.FunctionGetDynamicConcurrencyResponse(concurrency=concurrency)

    async def task_result(self, request: api_pb2.TaskResultRequest) -> Empty:
        """Hears why the container could not start: an import or an `enter` hook failed."""
        self._container.failure = request.result
        return Empty()

    async def container_checkpoint(self, request: api_pb2.ContainerCheckpointRequest) -> Empty:
        """Takes no snapshot, but restores the container from one: it goes on in the same process."""
        self._container.take_checkpoint()
        return Empty()

    async def container_stop(self, request: api_pb2.ContainerStopRequest) -> Any:
        """Takes no more inputs (`modal.experimental.stop_fetching_inputs`)."""
        if request.task_id != self._container.task_id:
            raise refused(Status.PERMISSION_DENIED, "A container may stop itself only.")
        self._container.stopping = True
        self._scheduler.pool(self._container.function_id).wake()
        return api_pb2.ContainerStopResponse()

    async def volume_commit(self, request: api_pb2.VolumeCommitRequest) -> Any:
        """Makes what the container has written to a Volume visible to others."""
        return await self._volumes.commit(request.volume_id, task_id=self._container.task_id)

    async def volume_reload(self, request: api_pb2.VolumeReloadRequest) -> Empty:
        """Makes what others have committed visible to the container."""
        return await self._volumes.reload(request.volume_id, task_id=self._container.task_id)


def _handed_out(job: Input) -> Any:
    return api_pb2.FunctionGetInputsItem(
        input_id=job.id,
        input=job.payload,
        function_call_id=job.call.id,
        function_call_invocation_type=job.call.invocation_type,
        retry_count=job.attempt,
        function_map_idx=job.index,
    )
