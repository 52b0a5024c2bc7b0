"""ComfyUI's registry of custom nodes on loopback, as far as installing a version goes.

    with RegistryEmulator({("comfyui-kjnodes", "1.1.6"): {"__init__.py": b"…"}}) as registry: ...

It plays `GET https://api.comfy.org/nodes/{id}/install?version=…` (docs.comfy.org/registry/api-reference), whose answer
has `id`, `node_id`, `version`, `status`, `dependencies` and `downloadUrl`, and the storage that this leads to. The
fields are those that comfy-cli 1.23 reads; nothing was compared with the live service. Without `version` it gives the
newest, here the last that was put in. An unknown node or version is answered 404 with a `message`.
"""

import io
import zipfile
from collections.abc import Iterable, Mapping

from aiohttp import web

from emulators.server import LoopbackServer

FAULTS = {
    "429": "one request for a version is answered 429",
    "500": "one request for a version is answered 500",
    "cut": "one download ends in the middle",
    "withdrawn": "every version has the status of one that was banned",
    "other_version": "every answer is about another version than was asked for",
    "other_bytes": "every archive has other bytes than before",
    "plain_file": "every archive is no archive",
}
PASSING = ("429", "500", "cut")

Files = Mapping[str, bytes]


def archive(files: Files) -> bytes:
    """A ZIP with `files` by their paths, the same bytes whenever it is made."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in files.items():
            opened.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


class RegistryEmulator(LoopbackServer):
    """A registry with these versions; archives that are bytes already are delivered as they are."""

    def __init__(
        self, versions: Mapping[tuple[str, str], Files | bytes], *, faults: Iterable[str] = (), port: int = 0
    ) -> None:
        self.archives = {
            key: content if isinstance(content, bytes) else archive(content) for key, content in versions.items()
        }
        self.requests: list[str] = []
        self._faults = list(faults)
        if unknown := set(self._faults) - set(FAULTS):
            raise ValueError(f"There is no fault {unknown.pop()!r}. Known are: {', '.join(FAULTS)}.")
        app = web.Application()
        app.router.add_get("/nodes/{id}/install", self._install)
        app.router.add_get("/storage/{id}/{version}/node.zip", self._download)
        super().__init__(app, port=port)

    async def _install(self, request: web.Request) -> web.Response:
        self.requests.append(request.path_qs)
        for fault in ("429", "500"):
            if self._strikes(fault):
                return web.json_response({"message": "try again"}, status=int(fault))
        node_id = request.match_info["id"]
        known = [version for (known_id, version) in self.archives if known_id == node_id]
        version = request.query.get("version") or (known[-1] if known else "")
        if version not in known:
            return web.json_response({"message": "Node version not found"}, status=404)
        status = "NodeVersionStatusBanned" if self._strikes("withdrawn") else "NodeVersionStatusActive"
        told = "0.0.0" if self._strikes("other_version") else version
        url = f"{self.url}/storage/{node_id}/{version}/node.zip"
        answer = {"id": f"{node_id}-{version}", "node_id": node_id, "version": told, "status": status}
        return web.json_response({**answer, "dependencies": [], "deprecated": False, "downloadUrl": url})

    async def _download(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request.path)
        content = self.archives[request.match_info["id"], request.match_info["version"]]
        if self._strikes("plain_file"):
            content = b"<html>not an archive</html>"
        if self._strikes("other_bytes"):
            content += b"\0"
        response = web.StreamResponse(headers={"Content-Length": str(len(content))})
        await response.prepare(request)
        if self._strikes("cut"):
            await response.write(content[: len(content) // 2])
            if request.transport:
                request.transport.abort()
            return response
        await response.write(content)
        return response

    def _strikes(self, name: str) -> bool:
        if name not in self._faults:
            return False
        if name in PASSING:
            self._faults.remove(name)
        return True
