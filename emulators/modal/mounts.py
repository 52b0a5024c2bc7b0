"""Mounts: the local files that a client uploads, kept by content; and the blobs that large ones travel in."""

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web
from grpclib import Status
from modal_proto import api_pb2

from emulators.modal.rpc import refused


@dataclass(frozen=True)
class MountedFile:
    """One uploaded file: where containers see it, its size in bytes, and the copy on this machine."""

    path: str
    size: int
    source: Path


class Blobs:
    """Large payloads: the client PUTs and GETs them over HTTP at addresses that the RPCs hand out."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self.url = ""
        self._count = 0

    def path(self, blob_id: str) -> Path:
        """The file that holds a blob."""
        return self._home / blob_id

    async def blob_create(self, request: api_pb2.BlobCreateRequest) -> Any:
        """Hands out an address to upload to, in one part whatever the size."""
        self._count += 1
        blob_id = f"bl-{self._count}"
        urls = api_pb2.UploadUrlList(items=[f"{self.url}/blobs/{blob_id}"])
        return api_pb2.BlobCreateResponse(blob_ids=[blob_id], upload_urls=urls)

    async def blob_get(self, request: api_pb2.BlobGetRequest) -> Any:
        """Hands out the address to download a blob from."""
        return api_pb2.BlobGetResponse(download_url=f"{self.url}/blobs/{request.blob_id}")

    def routes(self) -> list[web.RouteDef]:
        """The two HTTP routes that the addresses lead to."""
        return [web.put("/blobs/{id}", self._upload), web.get("/blobs/{id}", self._download)]

    async def _upload(self, request: web.Request) -> web.Response:
        digest = hashlib.md5(usedforsecurity=False)
        with self.path(request.match_info["id"]).open("wb") as file:
            async for chunk in request.content.iter_chunked(1 << 20):
                digest.update(chunk)
                file.write(chunk)
        # The client compares the ETag with its own MD5, as S3 gives it for one-part uploads.
        return web.Response(headers={"ETag": f'"{digest.hexdigest()}"'})

    async def _download(self, request: web.Request) -> web.StreamResponse:
        path = self.path(request.match_info["id"])
        if not path.is_file():
            raise web.HTTPNotFound
        return web.FileResponse(path)


class Mounts:
    """Answers the Mount RPCs; `by_id` says which files a mount holds.

    A mount that is only named (the client's own code, a standalone Python) belongs to the platform: it is
    answered with an empty one, because containers here use the local Python and its modal package.
    """

    def __init__(self, home: Path, blobs: Blobs) -> None:
        self._home = home
        self._blobs = blobs
        self.by_id: dict[str, list[MountedFile]] = {}
        self.names: dict[str, str] = {}
        self._checksums: dict[str, str] = {}

    async def mount_batched_check_existence(self, request: api_pb2.MountBatchedCheckExistenceRequest) -> Any:
        """Says which contents are not here yet."""
        missing = [digest for digest in request.sha256_hex_hashes if not self._content(digest).exists()]
        return api_pb2.MountBatchedCheckExistenceResponse(missing_sha256_hex_hashes=missing)

    async def mount_put_file(self, request: api_pb2.MountPutFileRequest) -> Any:
        """Takes one content, sent along or left as a blob; without either it only asks."""
        target = self._content(request.sha256_hex)
        if request.data_blob_id:
            shutil.copyfile(self._blobs.path(request.data_blob_id), target)
        elif request.WhichOneof("data_oneof") == "data":
            target.write_bytes(request.data)
        return api_pb2.MountPutFileResponse(exists=target.exists())

    async def mount_get_or_create(self, request: api_pb2.MountGetOrCreateRequest) -> Any:
        """Ties paths to contents that were uploaded before."""
        files = [self._file(entry) for entry in request.files]
        listing = "\n".join(f"{entry.filename} {entry.sha256_hex}" for entry in request.files)
        checksum = hashlib.sha256(f"{request.deployment_name}\n{listing}".encode()).hexdigest()
        mount_id = f"mo-{checksum[:16]}"
        self.by_id[mount_id] = files
        self.names[mount_id] = request.deployment_name
        self._checksums[mount_id] = checksum
        return api_pb2.MountGetOrCreateResponse(mount_id=mount_id, handle_metadata=self.metadata(mount_id))

    def metadata(self, mount_id: str) -> Any:
        """The `MountHandleMetadata` that handles are hydrated with."""
        return api_pb2.MountHandleMetadata(content_checksum_sha256_hex=self._checksums[mount_id])

    def _file(self, entry: Any) -> MountedFile:
        source = self._content(entry.sha256_hex)
        if not source.exists():
            raise refused(Status.FAILED_PRECONDITION, f"{entry.filename} was never uploaded.")
        return MountedFile(path=entry.filename, size=source.stat().st_size, source=source)

    def _content(self, digest: str) -> Path:
        return self._home / digest
