"""The status page at `/` and the files that it is made of: served as they lie in `page/`, no build step.

The page itself is public, so that a browser can open it; what it shows beyond `/health` it asks for with the key.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from fastapi import APIRouter, Request, Response

from comfyport.errors import RouteUnknown

FOLDER = Path(__file__).parent / "page"
MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
# Nothing from elsewhere, no script in the markup, no markup made from text: what ComfyUI's nodes, workflows and file
# names say is text, whatever it looks like. `blob:` is what the page itself has fetched with the key.
POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' blob:",
        "media-src blob:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class _File:
    """A file of the page; `tag` changes with its content."""

    content: bytes = field(repr=False)
    media_type: str
    tag: str

    @classmethod
    def read(cls, path: Path) -> "_File":
        content = path.read_bytes()
        return cls(content, MEDIA_TYPES[path.suffix], f'"{hashlib.sha256(content).hexdigest()[:32]}"')

    def answer(self, request: Request) -> Response:
        """The file, or 304 to a browser that has it."""
        headers = HEADERS | {"ETag": self.tag}
        if self.tag in request.headers.get("If-None-Match", ""):
            return Response(status_code=304, headers=headers)
        return Response(self.content, headers=headers, media_type=self.media_type)


def router() -> APIRouter:
    """The routes of the page. Its files are read once, here."""
    files = {path.name: _File.read(path) for path in FOLDER.iterdir() if path.suffix in MEDIA_TYPES}
    routes = APIRouter(include_in_schema=False)

    @routes.get("/")
    @routes.head("/")
    async def page(request: Request) -> Response:
        """The status page."""
        return files["index.html"].answer(request)

    @routes.get("/page/{name}")
    @routes.head("/page/{name}")
    async def part(name: str, request: Request) -> Response:
        """A file that the page loads. Raises RouteUnknown."""
        if name not in files:
            raise RouteUnknown(request.url.path)
        return files[name].answer(request)

    return routes
