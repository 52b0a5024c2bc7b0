"""Secrets: named ones are given to the emulator or made with `modal secret create`, others come from `from_dict`."""

from collections.abc import Mapping
from typing import Any

from grpclib import Status
from modal_proto import api_pb2

from emulators.modal.rpc import refused

_CREATING = (
    api_pb2.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS,
    api_pb2.OBJECT_CREATION_TYPE_CREATE_OVERWRITE_IF_EXISTS,
)
_ANONYMOUS = (api_pb2.OBJECT_CREATION_TYPE_ANONYMOUS_OWNED_BY_APP, api_pb2.OBJECT_CREATION_TYPE_EPHEMERAL)


class Secrets:
    """Answers the Secret RPCs; values leave it only towards a container's environment."""

    def __init__(self, named: Mapping[str, Mapping[str, str]]) -> None:
        self._named = {name: dict(values) for name, values in named.items()}
        self._ids: dict[str, str] = {}
        self.values: dict[str, dict[str, str]] = {}
        self.names: dict[str, str] = {}
        self.required_keys: dict[str, list[str]] = {}

    async def secret_get_or_create(self, request: api_pb2.SecretGetOrCreateRequest) -> Any:
        """Finds a Secret by name and checks its keys, or keeps an anonymous one."""
        if request.object_creation_type in _ANONYMOUS:
            secret_id = self._keep("", dict(request.env_dict))
        else:
            if request.object_creation_type in _CREATING:
                self._create(request)
            secret_id = self._look_up(request.deployment_name, list(request.required_keys))
        return api_pb2.SecretGetOrCreateResponse(
            secret_id=secret_id,
            metadata=api_pb2.SecretMetadata(name=self.names[secret_id], keys=sorted(self.values[secret_id])),
        )

    def _create(self, request: api_pb2.SecretGetOrCreateRequest) -> None:
        name = request.deployment_name
        if request.object_creation_type == api_pb2.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS and name in self._named:
            raise refused(Status.ALREADY_EXISTS, f"Secret {name!r} already exists.")
        self._named[name] = dict(request.env_dict)
        self._ids.pop(name, None)

    def _look_up(self, name: str, required: list[str]) -> str:
        if name not in self._named:
            raise refused(Status.NOT_FOUND, f"Secret {name!r} not found.")
        missing = [key for key in required if key not in self._named[name]]
        if missing:
            raise refused(Status.NOT_FOUND, f"Secret {name!r} is missing the required key(s): {', '.join(missing)}.")
        if name not in self._ids:
            self._ids[name] = self._keep(name, dict(self._named[name]))
        secret_id = self._ids[name]
        wanted = self.required_keys.setdefault(secret_id, [])
        wanted.extend(key for key in required if key not in wanted)
        return secret_id

    def _keep(self, name: str, values: dict[str, str]) -> str:
        secret_id = f"st-{len(self.values) + 1}"
        self.names[secret_id] = name
        self.values[secret_id] = values
        return secret_id
