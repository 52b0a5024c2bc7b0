"""The routes for files: /view, /upload/image."""

import hashlib
import mimetypes
from io import BytesIO
from pathlib import Path

from aiohttp import web
from PIL import Image

from emulators.comfyui.faults import Faults
from emulators.comfyui.folders import Folders, absolute

DOWNLOADED = {"text/html", "text/html-sandboxed", "application/xhtml+xml", "text/javascript", "text/css"}
"""Types that a browser must not show."""


class FileRoutes:
    """Each method answers one route."""

    def __init__(self, folders: Folders, faults: Faults) -> None:
        self._folders = folders
        self._faults = faults

    def routes(self) -> list[web.RouteDef]:
        """What is to be routed."""
        return [web.get("/view", self.view), web.post("/upload/image", self.upload)]

    async def view(self, request: web.Request) -> web.StreamResponse:
        """A file of the output, input or temp folder: as it is, as a preview, or one of its channels."""
        if self._faults.strikes("view_500"):
            raise web.HTTPInternalServerError
        query = request.query
        if "filename" not in query:
            return web.Response(status=404)
        name, folder = self._folders.annotated(query["filename"])
        folder = folder or self._folders.of_type(query.get("type", "output"))
        if not name or name.startswith("/") or ".." in name or folder is None:
            return web.Response(status=400)
        below = absolute(folder / query.get("subfolder", ""))
        if not below.is_relative_to(folder):
            return web.Response(status=403)
        path = below / Path(name).name
        if not path.is_file():
            return web.Response(status=404)
        headers = {"Content-Disposition": f'filename="{path.name}"'}
        if "preview" in query:
            return _preview(path, query["preview"], query.get("channel", ""), headers)
        if query.get("channel") in ("rgb", "a"):
            return _channel(path, query["channel"], headers)
        content_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        if content_type in DOWNLOADED:
            content_type = "application/octet-stream"
        return web.FileResponse(path, headers={**headers, "Content-Type": content_type})

    async def upload(self, request: web.Request) -> web.Response:
        """Stores the form's `image` under its name, or under `name (1)` if another file has that name."""
        if self._faults.strikes("upload_500"):
            raise web.HTTPInternalServerError
        if self._faults.strikes("upload_200_odd_body"):
            return web.Response(text="<html><h1>Please sign in</h1></html>", content_type="text/html")
        form = await request.post()
        kind = str(form.get("type", "input"))
        folder = self._folders.of_type(kind)
        if folder is None:
            raise web.HTTPInternalServerError
        image = form.get("image")
        if not isinstance(image, web.FileField):
            return web.Response(status=500 if image is not None else 400)
        subfolder = str(form.get("subfolder", ""))
        target = absolute(folder / subfolder)
        path = absolute(target / image.filename)
        if not path.is_relative_to(folder):
            return web.Response(status=400)
        target.mkdir(parents=True, exist_ok=True)
        data = image.file.read()
        if form.get("overwrite") not in ("true", "1"):
            path = _free_or_same(path, data)
        path.write_bytes(data)
        name = str(Path(image.filename).with_name(path.name))
        return web.json_response({"name": name, "subfolder": subfolder, "type": kind})


def _free_or_same(path: Path, data: bytes) -> Path:
    """The first of `a.png`, `a (1).png`, ... that does not exist or holds the same bytes."""
    wanted, number = path, 0
    digest = hashlib.sha256(data).digest()
    while path.exists() and hashlib.sha256(path.read_bytes()).digest() != digest:
        number += 1
        path = wanted.with_name(f"{wanted.stem} ({number}){wanted.suffix}")
    return path


def _preview(path: Path, wish: str, channel: str, headers: dict[str, str]) -> web.Response:
    """`wish` is `webp` or `jpeg`, with `;QUALITY` if wanted; whatever has an alpha channel is WebP."""
    kind, quality = wish.split(";")[0], wish.split(";")[-1]
    if kind not in ("webp", "jpeg") or "a" in channel:
        kind = "webp"
    with Image.open(path) as image:
        shown = image.convert("RGB") if kind == "jpeg" or channel == "rgb" else image
        body = BytesIO()
        shown.save(body, format=kind, quality=int(quality) if quality.isdigit() else 90)
    return web.Response(body=body.getvalue(), content_type=f"image/{kind}", headers=headers)


def _channel(path: Path, channel: str, headers: dict[str, str]) -> web.Response:
    """The colours without alpha, or the alpha alone, as a PNG."""
    with Image.open(path) as image:
        if channel == "rgb":
            shown = image.convert("RGB")
        else:
            shown = Image.new("RGBA", image.size)
            shown.putalpha(image.getchannel("A") if image.mode == "RGBA" else Image.new("L", image.size, 255))
        body = BytesIO()
        shown.save(body, format="PNG")
    return web.Response(body=body.getvalue(), content_type="image/png", headers=headers)
