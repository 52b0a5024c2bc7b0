"""Civitai: what a model version holds, and the way to its files."""

from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from emulators.hub.delivery import LOGIN_PAGE, Delivery, replacement
from emulators.hub.grants import Grants
from emulators.hub.huggingface import bearer
from emulators.hub.shelves import CivitaiFile, CivitaiVersion


class Civitai:
    """Civitai's routes; `own_url` and `cdn_url` say, once they listen, where the links lead."""

    def __init__(
        self,
        versions: Mapping[int, CivitaiVersion],
        tokens: frozenset[str],
        *,
        delivery: Delivery,
        grants: Grants,
        own_url: Callable[[], str],
        cdn_url: Callable[[], str],
    ) -> None:
        self._versions = versions
        self._tokens = tokens
        self._delivery = delivery
        self._grants = grants
        self._own_url = own_url
        self._cdn_url = cdn_url

    def routes(self) -> list[web.RouteDef]:
        """What it answers."""
        return [
            web.get(r"/api/v1/models/{id:\d+}", self.model),
            web.get(r"/api/v1/model-versions/{id:\d+}", self.model_version),
            web.get("/api/v1/model-versions/by-hash/{hash}", self.model_version_by_hash),
            web.get(r"/api/download/models/{id:\d+}", self.download),
            web.get("/api/v1/me", self.me),
            web.get("/login", self.login),
        ]

    async def model(self, request: web.Request) -> web.Response:
        """A model with its versions, newest first."""
        number = int(request.match_info["id"])
        fault = self._delivery.instead(request, "api", f"models/{number}")
        if fault is not None:
            return replacement(fault)
        if _looks_like_a_robot(request):
            return _blocked()
        versions = {key: version for key, version in self._versions.items() if version.model_id == number}
        if not versions:
            return web.json_response({"error": f"No model with id {number}"}, status=404)
        described = [self._describe(key, versions[key]) for key in sorted(versions, reverse=True)]
        newest = versions[max(versions)]
        about = {"id": number, "name": newest.model, "type": newest.model_type, "nsfw": False}
        # A version that stands in its model's answer has no `model` of its own.
        return web.json_response({**about, "modelVersions": [_without(each, "model") for each in described]})

    async def me(self, request: web.Request) -> web.Response:
        """Who the token belongs to."""
        fault = self._delivery.instead(request, "api", "me")
        if fault is not None:
            return replacement(fault)
        if bearer(request) not in self._tokens:
            return web.json_response({"error": "Unauthorized"}, status=401)
        return web.json_response({"id": 1, "username": "emulated-user", "tier": "free", "status": "active"})

    async def model_version(self, request: web.Request) -> web.Response:
        """The files of a version, with digests in upper case."""
        number = int(request.match_info["id"])
        fault = self._delivery.instead(request, "api", f"model-versions/{number}")
        if fault is not None:
            return replacement(fault)
        if _looks_like_a_robot(request):
            return _blocked()
        version = self._versions.get(number)
        if version is None:
            return web.json_response({"error": "Model not found"}, status=404)
        return web.json_response(self._describe(number, version))

    async def model_version_by_hash(self, request: web.Request) -> web.Response:
        """The version that one of the files with this sha256 belongs to; other kinds of hashes are not played."""
        if _looks_like_a_robot(request):
            return _blocked()
        wanted = request.match_info["hash"].lower()
        for number, version in self._versions.items():
            if any(file.content.sha256 == wanted for file in version.files):
                return web.json_response(self._describe(number, version))
        return web.json_response({"error": "Model not found"}, status=404)

    async def download(self, request: web.Request) -> web.Response:
        """307 to a presigned URL; HEAD is answered with 401 even where the token is right."""
        number = int(request.match_info["id"])
        version = self._versions.get(number)
        file = version.file(_number(request.query.get("fileId"))) if version is not None else None
        label = f"{number}/{file.name if file is not None else '?'}"
        fault = self._delivery.instead(request, "resolve", label)
        if fault is not None:
            return _to_login() if fault.name == "login_page" else replacement(fault)
        if _looks_like_a_robot(request):
            return _blocked()
        if version is None or file is None:
            return web.json_response({"error": "File not found"}, status=404)
        if request.method == "HEAD" or (version.needs_login and not self._knows(request)):
            return _unauthorized()
        location = self._cdn_url() + self._grants.presigned(label, file.content)
        return web.Response(status=307, headers={"Location": location})

    async def login(self, _: web.Request) -> web.Response:
        """The page that a browser would be shown."""
        return web.Response(text=LOGIN_PAGE, content_type="text/html")

    def _knows(self, request: web.Request) -> bool:
        return (bearer(request) or request.query.get("token")) in self._tokens

    def _describe(self, number: int, version: CivitaiVersion) -> dict[str, Any]:
        return {
            "id": number,
            "modelId": version.model_id,
            "name": version.name,
            "baseModel": version.base_model,
            "status": "Published",
            "availability": "Public",
            "usageControl": version.usage,
            "trainedWords": list(version.trained_words),
            "model": {"name": version.model, "type": version.model_type, "nsfw": False, "poi": False},
            "files": [self._describe_file(number, file, version) for file in version.files],
            "images": [],
            "downloadUrl": f"{self._own_url()}/api/download/models/{number}",
        }

    def _describe_file(self, number: int, file: CivitaiFile, version: CivitaiVersion) -> dict[str, Any]:
        digest = file.content.sha256.upper()
        link = f"{self._own_url()}/api/download/models/{number}"
        return {
            "id": file.id,
            "name": file.name,
            "type": "Model",
            "sizeKB": file.content.size / 1024,
            "metadata": {"format": "SafeTensor", "size": file.pruning, "fp": file.precision},
            "hashes": {"SHA256": digest, "AutoV2": digest[:10]},
            "primary": file is version.file(None),
            "downloadUrl": link if file is version.file(None) else f"{link}?fileId={file.id}",
        }


def _without(described: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in described.items() if key != name}


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None


def _looks_like_a_robot(request: web.Request) -> bool:
    """Cloudflare, in front of Civitai, turns the default name of Python's urllib away."""
    return request.headers.get("User-Agent", "").startswith("Python-urllib/")


def _blocked() -> web.Response:
    return web.Response(status=403, text="<title>Attention Required! | Cloudflare</title>", content_type="text/html")


def _to_login() -> web.Response:
    return web.Response(status=302, headers={"Location": "/login?reason=download-auth"})


def _unauthorized() -> web.Response:
    message = "The creator of this asset requires you to be logged in to download it"
    return web.json_response({"error": "Unauthorized", "message": message}, status=401)
