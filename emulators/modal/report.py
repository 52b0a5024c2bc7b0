"""Turns what an App declared into plain values, ready for JSON: the record of a deployment."""

from typing import Any

from google.protobuf import json_format  # type: ignore[import-untyped]
from modal_proto import api_pb2

from emulators.modal.apps import App
from emulators.modal.functions import Function, Functions
from emulators.modal.images import Image, Images
from emulators.modal.mounts import MountedFile, Mounts
from emulators.modal.secret_store import Secrets
from emulators.modal.volumes import Volumes
from emulators.modal_builder import dockerfile

Record = dict[str, Any]
_WEB_KINDS = {
    api_pb2.WEBHOOK_TYPE_ASGI_APP: "asgi_app",
    api_pb2.WEBHOOK_TYPE_FUNCTION: "fastapi_endpoint",
    api_pb2.WEBHOOK_TYPE_WSGI_APP: "wsgi_app",
    api_pb2.WEBHOOK_TYPE_WEB_SERVER: "web_server",
}


class Reporter:
    """Describes Apps from what the rooms hold."""

    def __init__(
        self, functions: Functions, images: Images, volumes: Volumes, secrets: Secrets, mounts: Mounts
    ) -> None:
        self._functions = functions
        self._images = images
        self._volumes = volumes
        self._secrets = secrets
        self._mounts = mounts

    def app(self, app: App) -> Record:
        """One published App. Sizes are bytes, times seconds, memory MiB, cpu cores."""
        functions = [self._functions.by_id[function_id] for function_id in app.function_ids.values()]
        definitions = [function.definition for function in functions]
        image_ids = dict.fromkeys(definition.image_id for definition in definitions)
        volume_ids = dict.fromkeys(mount.volume_id for definition in definitions for mount in definition.volume_mounts)
        secret_ids = dict.fromkeys(secret for definition in definitions for secret in definition.secret_ids)
        mount_ids = dict.fromkeys(mount for definition in definitions for mount in definition.mount_ids)
        return {
            "app_id": app.id,
            "name": app.title,
            "environment": app.environment,
            "version": app.version,
            "state": "deployed" if app.state == api_pb2.APP_STATE_DEPLOYED else "run",
            "functions": [self.function(function) for function in functions],
            "classes": sorted(app.class_ids),
            "images": [self.image(image_id) for image_id in image_ids if image_id],
            "volumes": [self._volume(volume_id) for volume_id in volume_ids],
            "secrets": [self._secret(secret_id) for secret_id in secret_ids],
            "mounts": [self._mount(mount_id) for mount_id in mount_ids],
        }

    def function(self, function: Function) -> Record:
        """One function, or the service behind a class (its name ends in `.*`)."""
        definition = function.definition
        resources = definition.resources
        return {
            "id": function.id,
            "name": function.name,
            "module": definition.module_name,
            "is_class": definition.is_class,
            "is_generator": definition.function_type == api_pb2.Function.FUNCTION_TYPE_GENERATOR,
            "methods": sorted(definition.method_definitions),
            "gpu": function.gpus,
            "cpu": _range(resources.milli_cpu, resources.milli_cpu_max, 1000),
            "memory": _range(resources.memory_mb, resources.memory_mb_max, 1),
            "ephemeral_disk": resources.ephemeral_disk_mb or None,
            "timeout": definition.timeout_secs,
            "startup_timeout": definition.startup_timeout_secs,
            "scaling": _scaling(definition),
            "retries": definition.retry_policy.retries,
            "web": self._web(function),
            "volumes": {mount.mount_path: self._mounted(mount) for mount in definition.volume_mounts},
            "secrets": [self._secret(secret_id) for secret_id in definition.secret_ids],
            "mounts": list(definition.mount_ids),
            "image_id": definition.image_id,
            "schedule": _schedule(definition, function.data),
            "regions": list(definition.scheduler_placement.regions),
            "snapshot": {
                "memory": definition.checkpointing_enabled,
                "gpu": definition.experimental_options.get("enable_gpu_snapshot") == "True",
            },
            "experimental_options": dict(definition.experimental_options),
        }

    def image(self, image_id: str) -> Record:
        """One image with its layers, the lowest first."""
        layers = self._images.chain(image_id)
        commands = [command for layer in layers for command in layer.commands]
        return {
            "id": image_id,
            "layers": [_layer(layer) for layer in layers],
            "environment": self._images.environment(image_id, {}),
            "entrypoint": dockerfile.last(commands, "ENTRYPOINT"),
            "workdir": dockerfile.last(commands, "WORKDIR"),
        }

    def _web(self, function: Function) -> list[Record]:
        configs = {"": function.definition.webhook_config} if function.definition.webhook_config.type else {}
        methods = function.definition.method_definitions
        configs |= {name: methods[name].webhook_config for name in methods if methods[name].webhook_config.type}
        return [
            {
                "method": name,
                "type": _WEB_KINDS[config.type],
                "url": function.urls.get(name, ""),
                "label": config.requested_suffix,
                "requires_proxy_auth": config.requires_proxy_auth,
                "custom_domains": [domain.name for domain in config.custom_domains],
                "port": config.web_server_port or None,
            }
            for name, config in configs.items()
        ]

    def _mounted(self, mount: Any) -> Record:
        volume = self._volumes.by_id[mount.volume_id]
        return {"name": volume.name, "version": volume.version, "read_only": mount.read_only}

    def _volume(self, volume_id: str) -> Record:
        volume = self._volumes.by_id[volume_id]
        return {"id": volume.id, "name": volume.name, "version": volume.version, "folder": str(volume.path)}

    def _secret(self, secret_id: str) -> Record:
        return {
            "name": self._secrets.names[secret_id],
            "keys": sorted(self._secrets.values[secret_id]),
            "required_keys": self._secrets.required_keys.get(secret_id, []),
        }

    def _mount(self, mount_id: str) -> Record:
        files = _files(self._mounts.by_id[mount_id])
        return {"id": mount_id, "name": self._mounts.names[mount_id], "files": files}


def _layer(image: Image) -> Record:
    return {
        "id": image.id,
        "commands": image.commands,
        "bases": image.bases,
        "context": _files(image.context),
        "context_files": image.context_files,
        "build_args": image.build_args,
        "builder_version": image.builder_version,
        "problem": str(image.problem) if image.problem else None,
    }


def _files(files: list[MountedFile]) -> list[Record]:
    return [{"path": file.path, "size": file.size} for file in sorted(files, key=lambda file: file.path)]


def _scaling(definition: Any) -> Record:
    settings = definition.autoscaler_settings
    return {
        "min_containers": settings.min_containers,
        "max_containers": settings.max_containers or None,
        "buffer_containers": settings.buffer_containers,
        "scaledown_window": settings.scaledown_window or None,
        "max_inputs": definition.max_concurrent_inputs or 1,
        "target_inputs": definition.target_concurrent_inputs or None,
        "single_use_containers": definition.single_use_containers,
    }


def _range(least: int, most: int, unit: int) -> float | list[float] | None:
    if not least:
        return None
    return [least / unit, most / unit] if most else least / unit


def _schedule(definition: Any, data: Any) -> Record | None:
    holder = data if data.HasField("schedule") else definition
    if not holder.HasField("schedule"):
        return None
    values: Record = json_format.MessageToDict(holder.schedule, preserving_proto_field_name=True)
    return values
