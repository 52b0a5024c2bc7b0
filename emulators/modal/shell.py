"""Commands in a running container, as `modal container exec` asks for them: without a terminal and without input.

The client is told where the router of the container's commands is, and talks to that; here one router serves all.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from grpclib import Status
from modal_proto import api_pb2, task_command_router_pb2

from emulators.modal.containers import Container
from emulators.modal.feed import Feed
from emulators.modal.rpc import refused

SERVICE = task_command_router_pb2.DESCRIPTOR.services_by_name["TaskCommandRouter"]
_STDOUT, _STDERR = 1, 2


@dataclass
class Command:
    """A program in a container: what it wrote, by descriptor, and its end."""

    process: asyncio.subprocess.Process
    written: dict[int, Feed[bytes]] = field(default_factory=lambda: {_STDOUT: Feed(), _STDERR: Feed()})


class Shell:
    """Answers where the router is, and the router's own RPCs; `url` is set once it listens."""

    def __init__(self, containers: Callable[[], list[Container]]) -> None:
        self._containers = containers
        self._commands: dict[str, Command] = {}
        self._readers: set[asyncio.Task[None]] = set()
        self.url = ""

    async def task_get_command_router_access(self, request: api_pb2.TaskGetCommandRouterAccessRequest) -> Any:
        """The router's address, and a token that it does not look at."""
        self._require(request.task_id)
        return api_pb2.TaskGetCommandRouterAccessResponse(url=self.url, jwt="emulator.e30.signature")

    async def task_exec_start(self, request: task_command_router_pb2.TaskExecStartRequest) -> Any:
        """Starts a program beside the container's own, with the same files and variables."""
        process = await self._require(request.task_id).run_beside(*request.command_args)
        if process is None:
            raise refused(Status.FAILED_PRECONDITION, f"The container {request.task_id!r} is not up yet.")
        command = self._commands[request.exec_id] = Command(process)
        for number, stream in ((_STDOUT, process.stdout), (_STDERR, process.stderr)):
            if stream is not None:
                reader = asyncio.create_task(_read(stream, command.written[number]))
                self._readers.add(reader)
                reader.add_done_callback(self._readers.discard)
        return task_command_router_pb2.TaskExecStartResponse()

    async def task_exec_stdio_read(
        self, request: task_command_router_pb2.TaskExecStdioReadRequest
    ) -> AsyncIterator[Any]:
        """What a program writes, from `offset` on, until it closes the stream."""
        past = request.offset
        of_stdout = request.file_descriptor == task_command_router_pb2.TASK_EXEC_STDIO_FILE_DESCRIPTOR_STDOUT
        written = self._command(request.exec_id).written[_STDOUT if of_stdout else _STDERR]
        async for chunk in written.follow():
            if chunk[past:]:
                yield task_command_router_pb2.TaskExecStdioReadResponse(data=chunk[past:])
            past = max(0, past - len(chunk))

    async def task_exec_wait(self, request: task_command_router_pb2.TaskExecWaitRequest) -> Any:
        """How a program ended, once it has."""
        code = await self._command(request.exec_id).process.wait()
        if code < 0:
            return task_command_router_pb2.TaskExecWaitResponse(signal=-code)
        return task_command_router_pb2.TaskExecWaitResponse(code=code)

    def _require(self, task_id: str) -> Container:
        for container in self._containers():
            if container.task_id == task_id and container.exit_code is None:
                return container
        raise refused(Status.NOT_FOUND, f"No container {task_id!r} runs.")

    def _command(self, exec_id: str) -> Command:
        if exec_id not in self._commands:
            raise refused(Status.NOT_FOUND, f"No command {exec_id!r} was started.")
        return self._commands[exec_id]


async def _read(stream: asyncio.StreamReader, written: Feed[bytes]) -> None:
    while chunk := await stream.read(1 << 16):
        written.put(chunk)
    written.close()
