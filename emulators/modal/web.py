"""Web functions: each has a port of its own and is reached through the real container runtime.

A request becomes a function call: its scope is the input, its body the call's `data_in`, and the ASGI messages
of the response come as `data_out`. Two rules of Modal's are kept: a request that has no answer after 150
seconds gets a 303 to an address that goes on waiting, and `requires_proxy_auth` wants Modal-Key and
Modal-Secret. WebSockets: `web_sockets.py`. Not played: limits on requests, and the public host name.
"""

import asyncio
import pickle
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from aiohttp import web
from modal_proto import api_pb2

from emulators.modal import web_sockets
from emulators.modal.calls import Call, Calls
from emulators.modal.functions import Functions
from emulators.modal.mounts import Blobs

RESULT_PARAMETER = "__modal_function_call_id"
_CHUNK = 1 << 20
_HOP_BY_HOP = frozenset({b"transfer-encoding", b"connection", b"keep-alive"})


@dataclass
class Site:
    """One web function. `function_id` is set once it is known which function answers."""

    method: str
    port: int
    runner: web.AppRunner | None = None
    function_id: str = ""
    open: list[Call] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The address without a slash at its end."""
        return f"http://127.0.0.1:{self.port}"


class WebDoor:
    """Serves web functions; `tokens` maps proxy-auth keys to secrets, `seconds` is the wait before a 303."""

    def __init__(
        self, functions: Functions, calls: Calls, blobs: Blobs, *, tokens: Mapping[str, str], seconds: float
    ) -> None:
        self._functions = functions
        self._calls = calls
        self._blobs = blobs
        self._tokens = tokens
        self._seconds = seconds

    async def serve(self, site: Site) -> None:
        """Starts to listen for one function."""
        app = web.Application(client_max_size=0)

        async def answer(request: web.Request) -> web.StreamResponse:
            return await self._answer(site, request)

        app.router.add_route("*", "/{path:.*}", answer)
        site.runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2, handler_cancellation=True)
        await site.runner.setup()
        await web.TCPSite(site.runner, "127.0.0.1", site.port).start()

    async def _answer(self, site: Site, request: web.Request) -> web.StreamResponse:
        function = self._functions.by_id.get(site.function_id)
        if function is None or function.definition is None:
            return web.Response(status=404, text="modal-http: app for invoked web endpoint is stopped")
        if not self._may_enter(function, site.method, request):
            return web.Response(status=401, text="modal-http: missing or wrong Modal-Key and Modal-Secret")
        earlier = request.query.get(RESULT_PARAMETER)
        call = self._calls.by_id.get(earlier) if earlier else self._open(site, request)
        if call is None:
            return web.Response(status=404, text="modal-http: no such function call")
        if web_sockets.asked_for(request):
            return await web_sockets.carry(request, self._messages(call), partial(_put, call))
        sending = None if earlier else asyncio.create_task(_send_body(call, request))
        try:
            return await self._respond(call, request)
        except asyncio.CancelledError:
            _put(call, api_pb2.Asgi(http_disconnect=api_pb2.Asgi.HttpDisconnect()))
            raise
        finally:
            if sending is not None:
                sending.cancel()

    def _may_enter(self, function: Any, method: str, request: web.Request) -> bool:
        definition = function.definition
        config = definition.method_definitions[method].webhook_config if method else definition.webhook_config
        if not config.requires_proxy_auth:
            return True
        key, secret = request.headers.get("Modal-Key", ""), request.headers.get("Modal-Secret", "")
        return bool(key) and self._tokens.get(key) == secret

    def _open(self, site: Site, request: web.Request) -> Call:
        call = self._calls.start(site.function_id, api_pb2.FUNCTION_CALL_INVOCATION_TYPE_SYNC)
        self._calls.put(
            call,
            0,
            api_pb2.FunctionInput(
                args=pickle.dumps(((_scope(request),), {})),
                data_format=api_pb2.DATA_FORMAT_PICKLE,
                method_name=site.method,
            ),
        )
        return call

    async def _respond(self, call: Call, request: web.Request) -> web.StreamResponse:
        messages = self._messages(call)
        try:
            async with asyncio.timeout(self._seconds):
                first = await anext(messages, None)
        except TimeoutError:
            return web.Response(
                status=303, headers={"Location": str(request.url.update_query({RESULT_PARAMETER: call.id}))}
            )
        if first is None or first.WhichOneof("type") != "http_response_start":
            return web.Response(status=500, text=f"modal-http: {_failure(call)}")
        start = first.http_response_start
        response = web.StreamResponse(status=start.status)
        for name, value in zip(start.headers[::2], start.headers[1::2], strict=True):
            if name.lower() not in _HOP_BY_HOP:
                response.headers.add(name.decode("latin-1"), value.decode("latin-1"))
        await response.prepare(request)
        async for message in messages:
            body = message.http_response_body
            if body.body:
                await response.write(body.body)
            if message.WhichOneof("type") == "http_response_body" and not body.more_body:
                break
        await response.write_eof()
        return response

    async def _messages(self, call: Call) -> AsyncIterator[Any]:
        async for chunk in call.data_out.follow():
            data = self._blobs.path(chunk.data_blob_id).read_bytes() if chunk.data_blob_id else chunk.data
            yield api_pb2.Asgi.FromString(data)


def _scope(request: web.Request) -> dict[str, Any]:
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": request.path,
        "query_string": request.rel_url.raw_query_string.encode(),
        "headers": [(name.lower(), value) for name, value in request.raw_headers],
        "client": (request.remote or "127.0.0.1", 0),
        "extensions": {},
    }
    if web_sockets.asked_for(request):
        scope |= {"type": "websocket", "scheme": "ws", "subprotocols": web_sockets.subprotocols(request)}
        del scope["method"]
    return scope


async def _send_body(call: Call, request: web.Request) -> None:
    async for chunk in request.content.iter_chunked(_CHUNK):
        _put(call, api_pb2.Asgi(http_request=api_pb2.Asgi.HttpRequest(body=chunk, more_body=True)))
    _put(call, api_pb2.Asgi(http_request=api_pb2.Asgi.HttpRequest(body=b"", more_body=False)))


def _put(call: Call, message: Any) -> None:
    call.data_in.put(
        api_pb2.DataChunk(
            data_format=api_pb2.DATA_FORMAT_ASGI,
            data=message.SerializeToString(),
            index=len(call.data_in.items) + 1,
        )
    )


def _failure(call: Call) -> str:
    outputs = [item.output for item in call.inputs.values() if item.output is not None]
    reason = next((output.result.exception for output in outputs if output.result.exception), "")
    return f"internal error: {reason}" if reason else "internal error: the function ended without a response"
