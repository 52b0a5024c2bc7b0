"""The hosts that hold bytes: the CDN behind signed URLs, a plain file host, and another behind redirects."""

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import quote

from aiohttp import web

from emulators.hub.content import Content, as_content
from emulators.hub.delivery import Delivery
from emulators.hub.grants import Grants
from emulators.hub.huggingface import bearer


class Cdn:
    """Serves signed paths to whoever holds one."""

    def __init__(self, grants: Grants, delivery: Delivery) -> None:
        self._grants = grants
        self._delivery = delivery

    def routes(self) -> list[web.RouteDef]:
        """What it answers."""
        return [
            web.get("/cdn/{sha256}", self.fetch),
            web.get("/civitai-delivery/{key}/{name}", self.fetch),
        ]

    async def fetch(self, request: web.Request) -> web.StreamResponse:
        """The file of a signed URL; 403 if the signature is wrong or too old."""
        grant = self._grants.find(request.path, request.query)
        if grant is None:
            return _xml(403, "SignatureDoesNotMatch", "The request signature does not match.")
        if grant.presigned and "Authorization" in request.headers:
            return _xml(400, "InvalidArgument", "Only one auth mechanism allowed.")
        if not self._grants.use(grant):
            return _xml(403, "AccessDenied", "Request has expired")
        headers = {"ETag": f'"{grant.content.sha256}"'}
        return await self._delivery.send(request, grant.label, grant.content, headers=headers)


class FileHost:
    """A plain web server; `tokens`, if any, guard everything on it."""

    def __init__(self, files: Mapping[str, bytes | Path | Content], tokens: frozenset[str], delivery: Delivery) -> None:
        self._files = {path: as_content(value) for path, value in files.items()}
        self._tokens = tokens
        self._delivery = delivery

    def routes(self) -> list[web.RouteDef]:
        """What it answers."""
        return [web.get("/files/{path:.+}", self.fetch)]

    async def fetch(self, request: web.Request) -> web.StreamResponse:
        """The file of that path."""
        if self._tokens and bearer(request) not in self._tokens:
            return web.Response(status=401, text="Unauthorized", headers={"WWW-Authenticate": "Bearer"})
        path = request.match_info["path"]
        content = self._files.get(path)
        if content is None:
            return web.Response(status=404, text="Not Found")
        # An etag that is not the sha256, as most web servers give it.
        headers = {"ETag": f'"{content.sha256[:24]}"'}
        return await self._delivery.send(request, path, content, headers=headers)


class Elsewhere:
    """Another host, to which `redirect_other_host` leads: serves anybody, and never fails."""

    def __init__(self, url: Callable[[], str]) -> None:
        self._url = url
        self._files: dict[str, Content] = {}
        self._numbers = itertools.count(1)

    def offer(self, label: str, content: Content) -> str:
        """A URL for the content."""
        path = f"{next(self._numbers)}/{label.rpartition('/')[2]}"
        self._files[path] = content
        return f"{self._url()}/elsewhere/{quote(path)}"

    def routes(self, delivery: Delivery) -> list[web.RouteDef]:
        """What it answers."""

        async def fetch(request: web.Request) -> web.StreamResponse:
            content = self._files.get(request.match_info["path"])
            if content is None:
                return web.Response(status=404, text="Not Found")
            headers = {"ETag": f'"{content.sha256[:24]}"'}
            return await delivery.send_plain(request, content, headers=headers)

        return [web.get("/elsewhere/{path:.+}", fetch)]


def _xml(status: int, code: str, message: str) -> web.Response:
    """An error as object stores word it."""
    error = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    text = f'<?xml version="1.0" encoding="UTF-8"?>{error}'
    return web.Response(status=status, text=text, content_type="application/xml")
