"""The web application: every route also below /api, requests noted, foreign origins refused."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler

from emulators.comfyui.sockets import Sockets


def build_app(
    routes: list[web.RouteDef], sockets: Sockets, requests: list[str], max_upload_bytes: int
) -> web.Application:
    """Serves `routes` and the websocket, and appends each request to `requests` as `GET /queue`."""

    @web.middleware
    async def note(request: web.Request, handler: Handler) -> web.StreamResponse:
        requests.append(f"{request.method} {request.path_qs}")
        return await handler(request)

    async def keep_publishing(app: web.Application) -> AsyncIterator[None]:
        publishing = asyncio.create_task(sockets.publish())
        yield
        publishing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await publishing

    async def close_sockets(app: web.Application) -> None:
        await sockets.close()

    app = web.Application(client_max_size=max_upload_bytes, middlewares=[note, refuse_foreign_origins])
    for route in [web.get("/ws", sockets.connect), *routes]:
        app.router.add_route(route.method, route.path, route.handler)
        app.router.add_route(route.method, f"/api{route.path}", route.handler)
    app.cleanup_ctx.append(keep_publishing)
    app.on_shutdown.append(close_sockets)
    return app


@web.middleware
async def refuse_foreign_origins(request: web.Request, handler: Handler) -> web.StreamResponse:
    """403 for a page of another site that talks to a server on this machine; OPTIONS is always welcome."""
    host, origin = urlsplit(f"//{request.host}"), urlsplit(request.headers.get("Origin", ""))
    loopback = host.hostname in ("localhost", "::1") or (host.hostname or "").startswith("127.")
    if loopback and origin.hostname:
        both = host.port is not None and origin.port is not None
        if host.hostname != origin.hostname or (both and host.port != origin.port):
            return web.Response(status=403)
    if request.method == "OPTIONS":
        return web.Response()
    return await handler(request)
