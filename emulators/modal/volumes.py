"""Volumes: plain folders on disk, one per name. Every container sees the same folder at once.

The real service shows other containers' changes only after `commit` and `reload`; here those calls are
answered and recorded, and nothing is hidden.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grpclib import Status
from modal_proto import api_pb2

from emulators.modal.rpc import Empty, refused

_VERSIONS = {1: api_pb2.VOLUME_FS_VERSION_V1, 2: api_pb2.VOLUME_FS_VERSION_V2}


@dataclass(frozen=True)
class Volume:
    """One Volume: `version` is 1 or 2, `path` the folder that holds its files."""

    id: str
    name: str
    version: int
    path: Path


@dataclass(frozen=True)
class VolumeCall:
    """A `commit` or `reload`; `task_id` is the container that asked, empty for a client outside."""

    action: str
    volume: str
    task_id: str


class Volumes:
    """Answers the Volume RPCs and keeps the folders; `folders` maps names to folders that exist already."""

    def __init__(self, home: Path, folders: dict[str, Path]) -> None:
        self._home = home
        self._folders = folders
        self.by_id: dict[str, Volume] = {}
        self.calls: list[VolumeCall] = []

    def folder(self, name: str) -> Path:
        """The folder behind the Volume `name`; made when it is missing."""
        path = self._folders.get(name, self._home / name)
        path.mkdir(parents=True, exist_ok=True)
        return path

    async def volume_get_or_create(self, request: api_pb2.VolumeGetOrCreateRequest) -> Any:
        """Finds a Volume by its name; creates it if asked to (`create_if_missing=True`)."""
        name = request.deployment_name
        volume = next((known for known in self.by_id.values() if name and known.name == name), None)
        if volume is None:
            may_create = request.object_creation_type != api_pb2.OBJECT_CREATION_TYPE_UNSPECIFIED
            if not may_create and name not in self._folders:
                raise refused(Status.NOT_FOUND, f"Volume {name!r} not found.")
            volume = self._create(name, request.version)
        elif request.object_creation_type == api_pb2.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS:
            raise refused(Status.ALREADY_EXISTS, f"Volume {name!r} already exists.")
        metadata = self.metadata(volume.id)
        return api_pb2.VolumeGetOrCreateResponse(volume_id=volume.id, version=metadata.version, metadata=metadata)

    async def volume_get_by_id(self, request: api_pb2.VolumeGetByIdRequest) -> Any:
        """Finds a Volume by its id."""
        self._require(request.volume_id)
        return api_pb2.VolumeGetByIdResponse(volume_id=request.volume_id, metadata=self.metadata(request.volume_id))

    async def volume_heartbeat(self, request: api_pb2.VolumeHeartbeatRequest) -> Empty:
        """Keeps an ephemeral Volume alive; here none ever expires."""
        return Empty()

    async def volume_commit(self, request: api_pb2.VolumeCommitRequest) -> Any:
        """Records a commit. The client asks for a reload next, as it does of the real service."""
        return self.commit(request.volume_id, task_id="")

    async def volume_reload(self, request: api_pb2.VolumeReloadRequest) -> Empty:
        """Records a reload."""
        return self.reload(request.volume_id, task_id="")

    def commit(self, volume_id: str, *, task_id: str) -> Any:
        """The answer to `VolumeCommit`, recorded with the container that asked."""
        self.calls.append(VolumeCall("commit", self._require(volume_id).name, task_id))
        return api_pb2.VolumeCommitResponse(skip_reload=False)

    def reload(self, volume_id: str, *, task_id: str) -> Empty:
        """The answer to `VolumeReload`, recorded with the container that asked."""
        self.calls.append(VolumeCall("reload", self._require(volume_id).name, task_id))
        return Empty()

    def metadata(self, volume_id: str) -> Any:
        """The `VolumeMetadata` that handles are hydrated with."""
        volume = self._require(volume_id)
        return api_pb2.VolumeMetadata(name=volume.name, version=_VERSIONS[volume.version])

    def _create(self, name: str, version: int) -> Volume:
        volume_id = f"vo-{len(self.by_id) + 1}"
        # A client that names no version sends 0; the service then picks its default, v1.
        volume = Volume(volume_id, name, version or 1, self.folder(name or volume_id))
        self.by_id[volume_id] = volume
        return volume

    def _require(self, volume_id: str) -> Volume:
        if volume_id not in self.by_id:
            raise refused(Status.NOT_FOUND, f"Volume {volume_id!r} not found.")
        return self.by_id[volume_id]
