"""An S3 server on loopback, and a proxy before it that misbehaves as it is told."""

import asyncio
import contextlib
import io
import uuid
from typing import Any

import aiohttp
import boto3
from aiohttp import web
from moto.server import ThreadedMotoServer
from yarl import URL

from emulators.server import LoopbackServer

KEY_ID, SECRET = "AKIDEXAMPLE", "the-secret-of-the-bucket"


class S3:
    """moto's S3, from the moment `with` is entered until it is left."""

    def __init__(self) -> None:
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)

    def __enter__(self) -> "S3":
        with contextlib.redirect_stdout(io.StringIO()):
            self._server.start()
        host, port = self._server.get_host_and_port()
        self.url = f"http://{host}:{port}"
        self._client = boto3.client(
            "s3", endpoint_url=self.url, aws_access_key_id=KEY_ID, aws_secret_access_key=SECRET, region_name="us-east-1"
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()
        self._server.stop()

    def new_bucket(self) -> str:
        """The name of an empty bucket."""
        name = f"bucket-{uuid.uuid4().hex}"
        self._client.create_bucket(Bucket=name)
        return name

    def content(self, bucket: str) -> dict[str, tuple[bytes, str]]:
        """What is in a bucket: key -> (bytes, media type)."""
        keys = [entry["Key"] for entry in self._client.list_objects_v2(Bucket=bucket).get("Contents", ())]
        found = {key: self._client.get_object(Bucket=bucket, Key=key) for key in keys}
        return {key: (entry["Body"].read(), entry["ContentType"]) for key, entry in found.items()}


class FaultyProxy(LoopbackServer):
    """Passes requests on to `upstream`, but answers the first `times` with `status`, or never if that is 0.

    `requests` lists what was asked, `headers` the headers of each.
    """

    def __init__(self, upstream: str, *, status: int = 0, times: float = float("inf")) -> None:
        self._upstream = upstream
        self._status = status
        self._left = times
        self.requests: list[str] = []
        self.headers: list[dict[str, str]] = []
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._answer)
        super().__init__(app, handler_cancellation=True)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.path}")
        self.headers.append(dict(request.headers))
        body = await request.read()
        if self._left > 0:
            self._left -= 1
            if not self._status:
                await asyncio.Event().wait()
            # What S3 says to a wrong secret: it repeats the key's id and what should have been signed.
            text = f"<Error><Code>SignatureDoesNotMatch</Code><AWSAccessKeyId>{KEY_ID}</AWSAccessKeyId></Error>"
            return web.Response(status=self._status, text=text, content_type="application/xml")
        return await self._passed_on(request, body)

    async def _passed_on(self, request: web.Request, body: bytes) -> web.Response:
        headers: dict[str, Any] = {key: value for key, value in request.headers.items() if key.lower() != "host"}
        url = f"{self._upstream}{request.raw_path}"
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(request.method, URL(url, encoded=True), data=io.BytesIO(body), headers=headers) as answer,
        ):
            kept = {key: value for key, value in answer.headers.items() if key.lower() in ("etag", "content-type")}
            return web.Response(status=answer.status, body=await answer.read(), headers=kept)
