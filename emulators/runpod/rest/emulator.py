"""The API over HTTP: keys, validation, faults, and what was asked."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from emulators.runpod.rest.contract import problems_of_answer, problems_of_request
from emulators.runpod.rest.resources import GPUS, Account, JsonObject, Refused
from emulators.server import LoopbackServer

PASSING = {
    "429": "a request is answered 429; `Retry-After` asks for no pause",
    "500": "a request is answered 500 and nothing is done",
    "500_done": "a change is made, and answered 500",
    "cut_done": "a change is made, and the connection is cut instead of answered",
}
STANDING = {
    "401": "every request is answered 401",
    "500_always": "every change is answered 500 and nothing is done",
    "echo": "every change is refused with 400 and a detail that repeats what was sent",
}


@dataclass(frozen=True)
class Asked:
    """A request as it came: method, path, and JSON if there was any."""

    method: str
    path: str
    body: Any

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class RestEmulator(LoopbackServer):
    """An account behind RunPod's REST API. A passing fault strikes once per mention, a standing one always."""

    def __init__(self, api_key: str = "rpa_test", *, faults: Iterable[str] = (), port: int = 0) -> None:
        self.api_key = api_key
        self.account = Account()
        self.requests: list[Asked] = []
        self.faults = list(faults)
        if unknown := set(self.faults) - set(PASSING) - set(STANDING):
            raise ValueError(f"There is no fault {unknown.pop()!r}. Known are: {', '.join([*PASSING, *STANDING])}.")
        app = web.Application(middlewares=[self._guard])
        self._add(app, "/v2/network-volumes", "networkVolumes", "volume")
        self._add(app, "/v2/templates", "templates", "template")
        self._add(app, "/v2/serverless", "endpoints", "endpoint")
        app.router.add_get("/v2/catalog/gpus", self._listing("/v2/catalog/gpus", lambda: {"gpus": [*GPUS]}))
        super().__init__(app, port=port)

    @property
    def changes(self) -> list[str]:
        """The requests that were to change something, as `POST /v2/templates`."""
        return [str(asked) for asked in self.requests if asked.method != "GET"]

    def _add(self, app: web.Application, path: str, plural: str, kind: str) -> None:
        create = getattr(self.account, f"create_{kind}")
        update = getattr(self.account, f"update_{kind}")
        kept: dict[str, JsonObject] = getattr(self.account, "volumes" if kind == "volume" else plural)
        one = f"{path}/{{id}}"

        async def post(request: web.Request) -> web.Response:
            return await self._change(request, path, create, 201)

        async def patch(request: web.Request) -> web.Response:
            return await self._change(request, one, lambda body: update(request.match_info["id"], body), 200)

        async def get(request: web.Request) -> web.Response:
            found = kept.get(request.match_info["id"])
            return _answer("GET", one, 200, found) if found else _problem(404, f"{kind} not found")

        app.router.add_get(path, self._listing(path, lambda: {plural: [*kept.values()]}))
        app.router.add_post(path, post)
        app.router.add_get(one, get)
        app.router.add_patch(one, patch)

    def _listing(self, path: str, content: Callable[[], JsonObject]) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.Response:
            return _answer("GET", path, 200, content())

        return handle

    async def _change(
        self, request: web.Request, template: str, work: Callable[[JsonObject], JsonObject], status: int
    ) -> web.Response:
        body = await request.json()
        if problems := problems_of_request(request.method, template, body):
            return _problem(422, "request validation failed", problems)
        if self._strikes("500_always") or self._strikes("500"):
            return _problem(500, "internal error")
        if self._strikes("echo"):
            return _problem(400, f"cannot do {json.dumps(body)}")
        try:
            done = work(body)
        except Refused as refused:
            return _problem(refused.status, refused.detail)
        if self._strikes("500_done"):
            return _problem(500, "internal error")
        if self._strikes("cut_done") and request.transport:
            request.transport.abort()
        return _answer(request.method, template, status, done)

    @web.middleware
    async def _guard(self, request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else None
        self.requests.append(Asked(request.method, request.path, body))
        if self._strikes("401") or request.headers.get("Authorization") != f"Bearer {self.api_key}":
            return _problem(401, "missing or invalid API key")
        if self._strikes("429"):
            refused = _problem(429, "rate limit exceeded")
            refused.headers["Retry-After"] = "0"
            return refused
        if request.method == "GET" and self._strikes("500"):
            return _problem(500, "internal error")
        response: web.StreamResponse = await handler(request)
        return response

    def _strikes(self, name: str) -> bool:
        if name not in self.faults:
            return False
        if name in PASSING:
            self.faults.remove(name)
        return True


def _answer(method: str, template: str, status: int, body: JsonObject) -> web.Response:
    if problems := problems_of_answer(method, template, status, body):
        raise AssertionError(f"The emulator would answer {method} {template} against its own contract: {problems}")
    return web.json_response(body, status=status)


def _problem(status: int, detail: str, errors: list[str] | None = None) -> web.Response:
    content = {"title": str(status), "status": status, "detail": detail, **({"errors": errors} if errors else {})}
    return web.json_response(content, status=status, content_type="application/problem+json")
