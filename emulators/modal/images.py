"""Images: every layer is recorded and answered as built, unless the real builder would refuse it.

Nothing is built: a layer's commands are read (`emulators/modal_builder`), its context files are compared with what was
uploaded, and its ENV reaches the containers.
"""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from modal_proto import api_pb2

from emulators.modal.mounts import MountedFile, Mounts
from emulators.modal_builder import dockerfile
from emulators.modal_builder.context import Uploaded
from emulators.modal_builder.rules import Problem, first_refusal


@dataclass
class Image:
    """One layer. `bases` are the ids of the layers below, by the name that FROM calls them."""

    id: str
    commands: list[str]
    bases: dict[str, str]
    context: list[MountedFile]
    context_files: dict[str, int]
    build_args: dict[str, str]
    builder_version: str
    problem: Problem | None
    secret_ids: list[str] = field(default_factory=list)


class Images:
    """Answers the Image RPCs; `by_id` holds every layer that was asked for."""

    def __init__(self, mounts: Mounts) -> None:
        self._mounts = mounts
        self._built: set[str] = set()
        self.by_id: dict[str, Image] = {}

    async def image_get_or_create(self, request: api_pb2.ImageGetOrCreateRequest) -> Any:
        """Takes a layer's definition. The same definition gives the same id, as on the platform."""
        content = request.builder_version.encode() + request.image.SerializeToString(deterministic=True)
        image_id = f"im-{hashlib.sha256(content).hexdigest()[:16]}"
        if image_id not in self.by_id:
            self.by_id[image_id] = self._read(image_id, request)
        if image_id in self._built and not request.force_build:
            return api_pb2.ImageGetOrCreateResponse(
                image_id=image_id,
                result=api_pb2.GenericResult(status=api_pb2.GenericResult.GENERIC_STATUS_SUCCESS),
                metadata=self._metadata(self.by_id[image_id]),
            )
        return api_pb2.ImageGetOrCreateResponse(image_id=image_id)

    async def image_join_streaming(self, request: api_pb2.ImageJoinStreamingRequest) -> AsyncIterator[Any]:
        """Streams the build: its log, then how it ended."""
        image = self.by_id[request.image_id]
        lines = "".join(f"=> {step.word} {step.text}\n" for step in dockerfile.instructions(image.commands))
        yield api_pb2.ImageJoinStreamingResponse(
            task_logs=[
                api_pb2.TaskLogs(
                    data=f"Image {image.id} (read, not built)\n{lines}",
                    file_descriptor=api_pb2.FILE_DESCRIPTOR_STDOUT,
                )
            ],
            entry_id="1",
        )
        yield self._verdict(image)

    def environment(self, image_id: str, inherited: dict[str, str]) -> dict[str, str]:
        """The variables of an image: `inherited`, then the ENV of every layer from the bottom up."""
        image = self.by_id.get(image_id)
        if image is None:
            return inherited
        for base in image.bases.values():
            inherited = self.environment(base, inherited)
        return dockerfile.environment(image.commands, inherited)

    def chain(self, image_id: str) -> list[Image]:
        """The image's layers, the lowest first."""
        image = self.by_id.get(image_id)
        if image is None:
            return []
        below = [layer for base in image.bases.values() for layer in self.chain(base)]
        return [*below, image]

    def _read(self, image_id: str, request: Any) -> Image:
        definition = request.image
        context = self._mounts.by_id.get(definition.context_mount_id, [])
        context_files = {file.filename: len(file.data) for file in definition.context_files}
        platform_mount = bool(self._mounts.names.get(definition.context_mount_id))
        uploaded = {
            *(file.path.lstrip("/") for file in context),
            *(name.lstrip("/") for name in context_files),
        }
        commands = list(definition.dockerfile_commands)
        return Image(
            id=image_id,
            commands=commands,
            bases={base.docker_tag: base.image_id for base in definition.base_images},
            context=context,
            context_files=context_files,
            build_args=dict(definition.build_args),
            builder_version=request.builder_version,
            problem=None if platform_mount else first_refusal(commands, Uploaded(uploaded)),
            secret_ids=list(definition.secret_ids),
        )

    def _verdict(self, image: Image) -> Any:
        if image.problem is None:
            self._built.add(image.id)
            status, message = api_pb2.GenericResult.GENERIC_STATUS_SUCCESS, ""
        else:
            status, message = api_pb2.GenericResult.GENERIC_STATUS_FAILURE, str(image.problem)
        return api_pb2.ImageJoinStreamingResponse(
            result=api_pb2.GenericResult(status=status, exception=message),
            metadata=self._metadata(image),
            entry_id="2",
            eof=True,
        )

    def _metadata(self, image: Image) -> Any:
        return api_pb2.ImageMetadata(image_builder_version=image.builder_version)
