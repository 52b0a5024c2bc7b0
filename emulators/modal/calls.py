"""Function calls: inputs from clients, outputs that they wait for, and the data streams beside them."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from grpclib import Status
from modal_proto import api_pb2

from emulators.modal.feed import Feed
from emulators.modal.rpc import Empty, refused
from emulators.modal.scheduler import Scheduler

DATA_STREAM_SECONDS = 55.0


@dataclass(eq=False)
class Input:
    """One input of a call; `output` is set once it is done, `attempt` counts from 0."""

    id: str
    call: "Call"
    index: int
    payload: Any
    attempt: int = 0
    output: Any = None
    started_at: float = 0.0


@dataclass(eq=False)
class Call:
    """One function call: `data_in` goes to the container, `data_out` comes from it (web and generators)."""

    id: str
    function_id: str
    invocation_type: Any
    inputs: dict[int, Input] = field(default_factory=dict)
    finished: Feed[Input] = field(default_factory=Feed)
    data_in: Feed[Any] = field(default_factory=Feed)
    data_out: Feed[Any] = field(default_factory=Feed)
    expired: bool = False

    @property
    def unfinished(self) -> int:
        """How many inputs have no output yet."""
        return sum(item.output is None for item in self.inputs.values())


class Calls:
    """Answers the RPCs of callers; `scheduler` brings inputs to containers."""

    def __init__(self, scheduler: Scheduler[Input]) -> None:
        self._scheduler = scheduler
        self.by_id: dict[str, Call] = {}
        self._inputs: dict[str, Input] = {}

    async def function_map(self, request: api_pb2.FunctionMapRequest) -> Any:
        """Starts a call, with its first inputs along (`remote`, `spawn`) or to come (`map`)."""
        call = self.start(request.function_id, request.function_call_invocation_type)
        return api_pb2.FunctionMapResponse(
            function_call_id=call.id,
            pipelined_inputs=[self._put(call, item.idx, item.input) for item in request.pipelined_inputs],
            retry_policy=self._scheduler.retry_policy(request.function_id),
            max_inputs_outstanding=1000,
        )

    async def function_put_inputs(self, request: api_pb2.FunctionPutInputsRequest) -> Any:
        """Adds inputs to a call."""
        call = self.require(request.function_call_id)
        return api_pb2.FunctionPutInputsResponse(
            inputs=[self._put(call, item.idx, item.input) for item in request.inputs]
        )

    async def function_get_outputs(self, request: api_pb2.FunctionGetOutputsRequest) -> Any:
        """Waits up to `timeout` seconds for outputs; by index, or in the order in which they come."""
        call = self.require(request.function_call_id)
        if call.expired:
            return api_pb2.FunctionGetOutputsResponse()
        seen = int(request.last_entry_id.partition("-")[0] or 0)
        if request.HasField("start_idx"):
            wanted = range(request.start_idx, request.end_idx + 1)
            done = await self._by_index(call, wanted, request.timeout)
        else:
            done = await self._in_order(call, seen, request.max_values or 1000, request.timeout)
            seen += len(done)
        return api_pb2.FunctionGetOutputsResponse(
            idxs=[item.index for item in done],
            outputs=[item.output for item in done],
            last_entry_id=f"{seen}-0",
            num_unfinished_inputs=call.unfinished,
        )

    async def function_call_cancel(self, request: api_pb2.FunctionCallCancelRequest) -> Empty:
        """Cancels a call: inputs that wait end at once, those that run are told through the heartbeat."""
        call = self.require(request.function_call_id)
        for item in call.inputs.values():
            if item.output is None:
                self._scheduler.cancel(call.function_id, item, terminate=request.terminate_containers)
        return Empty()

    async def function_call_from_id(self, request: api_pb2.FunctionCallFromIdRequest) -> Any:
        """Describes a call."""
        call = self.require(request.function_call_id)
        return api_pb2.FunctionCallFromIdResponse(
            function_call_id=call.id,
            num_inputs=len(call.inputs),
            metadata=api_pb2.FunctionCallHandleMetadata(function_id=call.function_id),
        )

    async def function_get_current_stats(self, request: api_pb2.FunctionGetCurrentStatsRequest) -> Any:
        """Counts a function's backlog and containers."""
        return self._scheduler.stats(request.function_id)

    async def function_call_get_data_in(self, request: api_pb2.FunctionCallGetDataRequest) -> AsyncIterator[Any]:
        """Streams what the caller sends while the call runs: a request's body."""
        async for chunk in self._stream(self.require(request.function_call_id).data_in, request.last_index):
            yield chunk

    async def function_call_get_data_out(self, request: api_pb2.FunctionCallGetDataRequest) -> AsyncIterator[Any]:
        """Streams what the function yields while the call runs."""
        async for chunk in self._stream(self.require(request.function_call_id).data_out, request.last_index):
            yield chunk

    async def function_call_put_data_out(self, request: api_pb2.FunctionCallPutDataRequest) -> Empty:
        """Takes what a function yields."""
        call = self.require(request.function_call_id)
        for chunk in request.data_chunks:
            call.data_out.put(chunk)
        return Empty()

    def start(self, function_id: str, invocation_type: Any) -> Call:
        """A new call without inputs."""
        call = Call(f"fc-{len(self.by_id) + 1}", function_id, invocation_type)
        self.by_id[call.id] = call
        return call

    def put(self, call: Call, index: int, payload: Any) -> Input:
        """Adds an input to a call and brings it on its way."""
        item = Input(f"in-{len(self._inputs) + 1}", call, index, payload)
        self._inputs[item.id] = item
        call.inputs[index] = item
        self._scheduler.submit(call.function_id, item)
        return item

    def finish(self, item: Input, result: Any, *, data_format: int = 0, task_id: str = "") -> None:
        """Gives an input its output, unless it has one."""
        if item.output is not None:
            return
        item.output = api_pb2.FunctionGetOutputsItem(
            result=result,
            idx=item.index,
            input_id=item.id,
            data_format=data_format,  # type: ignore[arg-type]
            task_id=task_id,
            input_started_at=item.started_at,
            output_created_at=time.time(),
            retry_count=item.attempt,
        )
        item.call.finished.put(item)
        if not item.call.unfinished:
            item.call.data_out.close()

    def require(self, call_id: str) -> Call:
        """The call with this id, or NOT_FOUND."""
        if call_id not in self.by_id:
            raise refused(Status.NOT_FOUND, f"Function call {call_id!r} not found.")
        return self.by_id[call_id]

    def input(self, input_id: str) -> Input:
        """The input with this id."""
        return self._inputs[input_id]

    def _put(self, call: Call, index: int, payload: Any) -> Any:
        item = self.put(call, index, payload)
        return api_pb2.FunctionPutInputsResponseItem(idx=index, input_id=item.id)

    async def _by_index(self, call: Call, wanted: range, seconds: float) -> list[Input]:
        if not _done(call, wanted):
            async for item in call.finished.follow(len(call.finished.items), seconds=seconds):
                if item.index in wanted:
                    break
        return _done(call, wanted)

    async def _in_order(self, call: Call, seen: int, limit: int, seconds: float) -> list[Input]:
        async for _ in call.finished.follow(seen, seconds=seconds):
            break
        return call.finished.items[seen : seen + limit]

    async def _stream(self, feed: Feed[Any], last_index: int) -> AsyncIterator[Any]:
        async for chunk in feed.follow(last_index, seconds=DATA_STREAM_SECONDS):
            yield chunk
        if feed.closed:
            # A client asks again at once when the stream ends, so it is held until the client leaves.
            await asyncio.sleep(DATA_STREAM_SECONDS)


def _done(call: Call, wanted: range) -> list[Input]:
    return [call.inputs[index] for index in wanted if index in call.inputs and call.inputs[index].output]
