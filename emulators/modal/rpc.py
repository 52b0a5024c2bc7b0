"""Carries each RPC of `modal.client.ModalClient` to the room that answers it, and notes what was asked.

A room is any object with methods named like the RPCs in snake case: `VolumeCommit` is answered by
`volume_commit(request)`. Unary RPCs are coroutines that return the response; streaming ones are async
generators of responses. What no room answers ends with UNIMPLEMENTED and stands out in the log.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import json_format  # type: ignore[import-untyped]
from google.protobuf.empty_pb2 import Empty  # type: ignore[import-untyped]
from grpclib import GRPCError, Status
from grpclib.const import Cardinality, Handler
from grpclib.server import Server, Stream
from modal_proto import api_pb2

__all__ = ["Empty", "Journal", "Listener", "Switchboard", "json_format", "refused"]

logger = logging.getLogger(__name__)
CLIENT = api_pb2.DESCRIPTOR.services_by_name["ModalClient"]
_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def refused(status: Status, message: str) -> GRPCError:
    """The error a room raises to answer with a gRPC status; the client shows `message` to its user."""
    return GRPCError(status, message)


@dataclass
class Journal:
    """Which RPCs were asked, in order, and which of them this emulator does not play."""

    calls: list[str] = field(default_factory=list)
    not_played: list[str] = field(default_factory=list)


class Switchboard:
    """One gRPC service: the rooms are searched in order, so a room for one container comes first."""

    def __init__(self, rooms: Sequence[object], journal: Journal, service: Any = CLIENT) -> None:
        self._rooms = rooms
        self._journal = journal
        self._service = service

    def __mapping__(self) -> dict[str, Handler]:
        name = self._service.full_name
        return {f"/{name}/{method.name}": self._handler(method) for method in self._service.methods}

    def _handler(self, method: Any) -> Handler:
        streaming = method.server_streaming
        answer = self._find(_WORD_START.sub("_", method.name).lower())
        if answer is None:
            serve = self._refusal(method.name)
        elif streaming:
            serve = self._many(method.name, answer)
        else:
            serve = self._one(method.name, answer)
        return Handler(
            serve,
            Cardinality.UNARY_STREAM if streaming else Cardinality.UNARY_UNARY,
            method.input_type._concrete_class,
            method.output_type._concrete_class,
        )

    def _find(self, name: str) -> Callable[[Any], Any] | None:
        answers = (getattr(room, name, None) for room in self._rooms)
        return next((answer for answer in answers if answer is not None), None)

    def _one(self, name: str, answer: Callable[[Any], Any]) -> Callable[[Stream], Any]:
        async def serve(stream: Stream) -> None:
            request = await stream.recv_message()
            self._journal.calls.append(name)
            await stream.send_message(await answer(request))

        return serve

    def _many(self, name: str, answer: Callable[[Any], Any]) -> Callable[[Stream], Any]:
        async def serve(stream: Stream) -> None:
            request = await stream.recv_message()
            self._journal.calls.append(name)
            async for response in answer(request):
                await stream.send_message(response)

        return serve

    def _refusal(self, name: str) -> Callable[[Stream], Any]:
        async def serve(stream: Stream) -> None:
            await stream.recv_message()
            self._journal.calls.append(name)
            self._journal.not_played.append(name)
            logger.warning("the client asked for %s, which the Modal emulator does not play", name)
            raise refused(Status.UNIMPLEMENTED, f"{name} is not played by the Modal emulator.")

        return serve


class Listener:
    """A gRPC server for one switchboard that takes its open connections with it when it closes.

    grpclib only stops to accept: a client that does not hang up would keep its socket.
    """

    def __init__(self, switchboard: Switchboard) -> None:
        self._server = Server([switchboard])
        self._connections: list[Any] = []
        make = self._server._protocol_factory

        def remember() -> Any:
            self._connections.append(make())
            return self._connections[-1]

        self._server._protocol_factory = remember

    async def start(self, *, host: str | None = None, port: int | None = None, path: str | None = None) -> None:
        """Listens on a loopback port or at a unix socket."""
        await self._server.start(host, port, path=path)

    async def close(self) -> None:
        """Ends running requests and closes every connection."""
        self._server.close()
        await self._server.wait_closed()
        for protocol in self._connections:
            if hasattr(protocol, "connection"):
                protocol.connection.close()
        # The loop closes a connection's socket in its next turn.
        await asyncio.sleep(0)
