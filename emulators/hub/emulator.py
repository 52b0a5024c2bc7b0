"""The emulator itself: three loopback ports, one for the services, one for the CDN, one for another host."""

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler

from emulators.hub.civitai import Civitai
from emulators.hub.content import Content
from emulators.hub.delivery import Delivery
from emulators.hub.faults import Fault, FaultBook, FaultMix
from emulators.hub.grants import Grants
from emulators.hub.huggingface import HuggingFace
from emulators.hub.records import EXCHANGE, Exchange, RequestRecord, Role
from emulators.hub.shelves import CivitaiVersion, Repo
from emulators.hub.storage import Cdn, Elsewhere, FileHost
from emulators.server import LoopbackServer

_ROLES: dict[str, Role] = {
    "/cdn/": "cdn",
    "/civitai-delivery/": "cdn",
    "/elsewhere/": "elsewhere",
    "/files/": "files",
    "/api/v1/": "civitai",
    "/api/download/": "civitai",
    "/login": "civitai",
}


class HubEmulator(LoopbackServer):
    """Plays the Hugging Face Hub, Civitai and a plain file host at `url`, and their CDN at `cdn_url`.

    - `repos`: model repositories by `owner/name`; `renamed`: their former names -> those of today; `civitai`: model
      versions by id; `files`: what stands below `/files/`, by path.
    - `tokens`: the bearer tokens that the Hub and Civitai know; `files_tokens`: those the file host asks for.
    - `faults`: what goes wrong, in order of precedence. `rate`: bytes per second for each connection.
    - `signature_seconds`: how long the Hub's signed URLs live, by `clock` (seconds since 1970).
    """

    def __init__(
        self,
        repos: Mapping[str, Repo] | None = None,
        *,
        renamed: Mapping[str, str] | None = None,
        tokens: Iterable[str] = (),
        civitai: Mapping[int, CivitaiVersion] | None = None,
        files: Mapping[str, bytes | Path | Content] | None = None,
        files_tokens: Iterable[str] = (),
        faults: Iterable[Fault | FaultMix] = (),
        rate: float | None = None,
        signature_seconds: float = 3600,
        clock: Callable[[], float] = time.time,
        port: int = 0,
        cdn_port: int = 0,
    ) -> None:
        self.cdn_port = cdn_port
        self.elsewhere_port = 0
        self._exchanges: list[Exchange] = []
        book = FaultBook(faults)
        grants = Grants(lifetime=signature_seconds, clock=clock, expiries=book.expiries)
        elsewhere = Elsewhere(lambda: self.elsewhere_url)
        delivery = self._delivery = Delivery(book, rate=rate, elsewhere=elsewhere.offer)
        known = frozenset(tokens)
        app = web.Application(middlewares=[self._record])
        app.on_response_prepare.append(_note_status)
        app.add_routes(Cdn(grants, delivery).routes())
        app.add_routes(elsewhere.routes(delivery))
        app.add_routes(FileHost(files or {}, frozenset(files_tokens), delivery).routes())
        app.add_routes(
            Civitai(
                civitai or {},
                known,
                delivery=delivery,
                grants=grants,
                own_url=lambda: self.url,
                cdn_url=lambda: self.cdn_url,
            ).routes()
        )
        app.add_routes(
            HuggingFace(
                repos or {},
                known,
                delivery=delivery,
                grants=grants,
                cdn_url=lambda: self.cdn_url,
                renamed=renamed or {},
            ).routes()
        )
        super().__init__(app, port=port, handler_cancellation=True)

    @property
    def rate(self) -> float | None:
        """Bytes per second for each connection; answers under way follow a change."""
        return self._delivery.rate

    @rate.setter
    def rate(self, rate: float | None) -> None:
        self._delivery.rate = rate

    @property
    def cdn_url(self) -> str:
        """The origin that signed URLs lead to."""
        return f"http://{self.host}:{self.cdn_port}"

    @property
    def elsewhere_url(self) -> str:
        """The origin that the fault `redirect_other_host` leads to."""
        return f"http://{self.host}:{self.elsewhere_port}"

    @property
    def requests(self) -> list[RequestRecord]:
        """What was asked until now, in the order of arrival."""
        return [exchange.record() for exchange in list(self._exchanges)]

    async def _listen(self) -> None:
        await super()._listen()
        for port in (self.cdn_port, 0):
            await web.TCPSite(self._runner, self.host, port).start()
        _, (_, self.cdn_port), (_, self.elsewhere_port) = self._runner.addresses

    @web.middleware
    async def _record(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        role = _role_of(request.path)
        exchange = Exchange(request, role)
        request[EXCHANGE] = exchange
        self._exchanges.append(exchange)
        if self._port_of(role) != _local_port(request):
            return web.Response(status=404, text="Not Found")
        return await handler(request)

    def _port_of(self, role: Role) -> int:
        """Nothing but the CDN serves signed paths, and the CDN serves nothing else."""
        if role == "cdn":
            return self.cdn_port
        return self.elsewhere_port if role == "elsewhere" else self.port


def _role_of(path: str) -> Role:
    for start, role in _ROLES.items():
        if path.startswith(start):
            return role
    return "hub"


def _local_port(request: web.Request) -> int:
    if request.transport is None:
        return 0
    port: int = request.transport.get_extra_info("sockname")[1]
    return port


async def _note_status(request: web.Request, response: web.StreamResponse) -> None:
    request[EXCHANGE].status = response.status
