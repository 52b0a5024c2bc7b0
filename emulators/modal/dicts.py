"""Dicts: keys and values as the client pickled them, one store per name.

Played: creation and lookup by name, reading, writing, `skip_if_exists`, taking out, listing, and the size that the
service refuses a write beyond. Not played: that an entry which nobody touched for 7 days is gone, unless asked for
with `ModalEmulator.forget`.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from grpclib import Status
from modal_proto import api_pb2

from emulators.modal.rpc import Empty, refused

# Modal's guide: 100 MiB a value at most.
LARGEST_VALUE = 100 << 20


@dataclass
class StoredDict:
    """One Dict; `entries` maps pickled keys to pickled values."""

    id: str
    name: str
    entries: dict[bytes, bytes] = field(default_factory=dict)


class Dicts:
    """Answers the Dict RPCs."""

    def __init__(self) -> None:
        self.by_id: dict[str, StoredDict] = {}

    async def dict_get_or_create(self, request: api_pb2.DictGetOrCreateRequest) -> Any:
        """Finds a Dict by its name; creates it if asked to, or without a name."""
        name = request.deployment_name
        found = next((known for known in self.by_id.values() if name and known.name == name), None)
        if found is None:
            if request.object_creation_type == api_pb2.OBJECT_CREATION_TYPE_UNSPECIFIED:
                raise refused(Status.NOT_FOUND, f"Dict {name!r} not found.")
            found = StoredDict(f"di-{len(self.by_id) + 1}", name)
            self.by_id[found.id] = found
        elif request.object_creation_type == api_pb2.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS:
            raise refused(Status.ALREADY_EXISTS, f"Dict {name!r} already exists.")
        return api_pb2.DictGetOrCreateResponse(dict_id=found.id, metadata=self.metadata(found.id))

    async def dict_get_by_id(self, request: api_pb2.DictGetByIdRequest) -> Any:
        """Finds a Dict by its id."""
        found = self._require(request.dict_id)
        return api_pb2.DictGetByIdResponse(dict_id=found.id, metadata=self.metadata(found.id))

    async def dict_heartbeat(self, request: api_pb2.DictHeartbeatRequest) -> Empty:
        """Keeps an ephemeral Dict alive; here none ever expires."""
        return Empty()

    async def dict_update(self, request: api_pb2.DictUpdateRequest) -> Any:
        """Writes entries; with `if_not_exists` only those whose keys are new."""
        entries = self._require(request.dict_id).entries
        if any(len(update.value) > LARGEST_VALUE for update in request.updates):
            raise refused(Status.INVALID_ARGUMENT, "status = '413': the value is larger than 100 MiB.")
        created = False
        for update in request.updates:
            if not (request.if_not_exists and update.key in entries):
                created = created or update.key not in entries
                entries[update.key] = update.value
        return api_pb2.DictUpdateResponse(created=created or not request.if_not_exists)

    async def dict_get(self, request: api_pb2.DictGetRequest) -> Any:
        """Reads one entry."""
        value = self._require(request.dict_id).entries.get(request.key)
        return api_pb2.DictGetResponse(found=value is not None, value=value)

    async def dict_contains(self, request: api_pb2.DictContainsRequest) -> Any:
        """Says whether a key is there."""
        return api_pb2.DictContainsResponse(found=request.key in self._require(request.dict_id).entries)

    async def dict_pop(self, request: api_pb2.DictPopRequest) -> Any:
        """Takes one entry out."""
        value = self._require(request.dict_id).entries.pop(request.key, None)
        return api_pb2.DictPopResponse(found=value is not None, value=value)

    async def dict_len(self, request: api_pb2.DictLenRequest) -> Any:
        """Counts the entries."""
        return api_pb2.DictLenResponse(len=len(self._require(request.dict_id).entries))

    async def dict_clear(self, request: api_pb2.DictClearRequest) -> Empty:
        """Takes every entry out."""
        self._require(request.dict_id).entries.clear()
        return Empty()

    async def dict_delete(self, request: api_pb2.DictDeleteRequest) -> Empty:
        """Forgets a Dict."""
        del self.by_id[self._require(request.dict_id).id]
        return Empty()

    async def dict_contents(self, request: api_pb2.DictContentsRequest) -> AsyncIterator[Any]:
        """Streams keys, values or both."""
        for key, value in list(self._require(request.dict_id).entries.items()):
            yield api_pb2.DictEntry(key=key if request.keys else b"", value=value if request.values else b"")

    async def dict_list(self, request: api_pb2.DictListRequest) -> Any:
        """Lists the Dicts that have a name, in one page."""
        named = [found for found in self.by_id.values() if found.name]
        infos = [
            api_pb2.DictListResponse.DictInfo(name=found.name, dict_id=found.id, metadata=self.metadata(found.id))
            for found in named
        ]
        return api_pb2.DictListResponse(dicts=infos, environment_name=request.environment_name)

    def metadata(self, dict_id: str) -> Any:
        """The `DictMetadata` that handles are hydrated with."""
        return api_pb2.DictMetadata(name=self._require(dict_id).name)

    def _require(self, dict_id: str) -> StoredDict:
        if dict_id not in self.by_id:
            raise refused(Status.NOT_FOUND, f"Dict {dict_id!r} not found.")
        return self.by_id[dict_id]
