"""Volumes: a folder on disk for each holds what was committed; containers have copies of it (`volume_copies.py`)."""

import asyncio
import shutil
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grpclib import GRPCError, Status
from modal_proto import api_pb2

from emulators.modal.rpc import Empty, refused
from emulators.modal.volume_copies import Copy, OpenFiles, in_use

_VERSIONS = {1: api_pb2.VOLUME_FS_VERSION_V1, 2: api_pb2.VOLUME_FS_VERSION_V2}


@dataclass(frozen=True)
class Volume:
    """One Volume: `version` is 1 or 2, `path` the folder that holds what was committed."""

    id: str
    name: str
    version: int
    path: Path


@dataclass(frozen=True)
class VolumeCall:
    """A `commit` or `reload` that a container asked for; those of the platform itself are not recorded."""

    action: str
    volume: str
    task_id: str


class Volumes:
    """Answers the Volume RPCs and keeps the folders; `folders` maps names to folders that exist already."""

    def __init__(self, home: Path, folders: dict[str, Path]) -> None:
        self._home = home
        self._folders = folders
        self._copies: dict[str, dict[str, list[Copy]]] = defaultdict(dict)
        self._busy: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
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
        """Refuses a client that is no container: it has nothing mounted."""
        raise self._not_mounted(request.volume_id)

    async def volume_reload(self, request: api_pb2.VolumeReloadRequest) -> Empty:
        """Refuses a client that is no container: it has nothing mounted."""
        raise self._not_mounted(request.volume_id)

    def mount(self, mount: Any, task_id: str) -> Copy:
        """What a new container sees of a Volume: what is committed now."""
        volume = self._require(mount.volume_id)
        copies = self._copies[task_id].setdefault(volume.id, [])
        store = volume.path / mount.sub_path.strip("/")
        store.mkdir(parents=True, exist_ok=True)
        folder = self._home_of(task_id) / f"{volume.id}-{len(copies)}"
        copies.append(Copy(volume.name, store, folder, read_only=mount.read_only))
        return copies[-1]

    async def commit(self, volume_id: str, *, task_id: str) -> Any:
        """The answer to a container's `VolumeCommit`: the client reloads next, unless open files would refuse that."""
        copies = self._mounted(volume_id, task_id)
        self.calls.append(VolumeCall("commit", self._require(volume_id).name, task_id))
        async with self._busy[volume_id]:
            for copy in copies:
                await asyncio.to_thread(copy.commit)
            opened = [await asyncio.to_thread(in_use, copy.path) for copy in copies]
        return api_pb2.VolumeCommitResponse(skip_reload=any(opened))

    async def reload(self, volume_id: str, *, task_id: str) -> Empty:
        """The answer to a container's `VolumeReload`."""
        copies = self._mounted(volume_id, task_id)
        self.calls.append(VolumeCall("reload", self._require(volume_id).name, task_id))
        async with self._busy[volume_id]:
            try:
                for copy in copies:
                    await asyncio.to_thread(copy.reload)
            except OpenFiles:
                reason = "there are open files preventing the operation"
                raise refused(Status.FAILED_PRECONDITION, reason) from None
        return Empty()

    async def commit_all(self, task_id: str) -> None:
        """What the platform does every few seconds, and when a container has ended."""
        for volume_id, copies in list(self._copies[task_id].items()):
            async with self._busy[volume_id]:
                for copy in copies:
                    await asyncio.to_thread(copy.commit)

    async def unmount(self, task_id: str) -> None:
        """Commits for the last time what a container has left, and forgets its copies."""
        await self.commit_all(task_id)
        del self._copies[task_id]
        shutil.rmtree(self._home_of(task_id), ignore_errors=True)

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

    def _home_of(self, task_id: str) -> Path:
        return self._home.parent / "copies" / task_id

    def _mounted(self, volume_id: str, task_id: str) -> list[Copy]:
        if volume_id not in self._copies[task_id]:
            raise self._not_mounted(volume_id)
        return self._copies[task_id][volume_id]

    def _not_mounted(self, volume_id: str) -> GRPCError:
        name = self._require(volume_id).name
        return refused(Status.FAILED_PRECONDITION, f"Volume {name!r} is not mounted here.")

    def _require(self, volume_id: str) -> Volume:
        if volume_id not in self.by_id:
            raise refused(Status.NOT_FOUND, f"Volume {volume_id!r} not found.")
        return self.by_id[volume_id]
