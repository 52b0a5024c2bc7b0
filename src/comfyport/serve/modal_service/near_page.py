"""ComfyUI's page on Modal for a browser on this machine: a door on loopback that brings Modal's proxy auth token along.

A browser cannot send Modal-Key and Modal-Secret with the address of a page. The door that does it for all who come must
not open to other sites: a page of theirs may ask for any address on this machine, and a name of theirs may lead here.
"""

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from comfyport.environment import Secret
from comfyport.serve.modal_service import proxy

_LOOPBACK = frozenset({"127.0.0.1", "localhost"})


def build(url: str, *, key: Secret, secret: Secret) -> ASGIApp:
    """The application of the door to the page at `url`, for Modal's proxy auth token."""
    token = {"Modal-Key": key.reveal(), "Modal-Secret": secret.reveal()}
    # Modal finds the app by its host; ComfyUI refuses origins other than its host.
    return OwnOrigin(proxy.build(url.rstrip("/"), headers=token, withheld=frozenset({"host", "origin", "referer"})))


class OwnOrigin:
    """Lets in what a page of this door's own asks for, and what no page does."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application's answer, or 403."""
        if scope["type"] != "lifespan" and not _own(Headers(scope=scope)):
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            else:
                await PlainTextResponse("Another site asked for this.", 403)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _own(headers: Headers) -> bool:
    host, origin = headers.get("host", ""), headers.get("origin")
    return urlsplit(f"//{host}").hostname in _LOOPBACK and (origin is None or urlsplit(origin).netloc == host)
