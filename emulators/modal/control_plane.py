"""Puts the rooms together: what happens in one has its consequences in the others."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modal_proto import api_pb2

from emulators.modal import shell
from emulators.modal.apps import App, Apps, LogLine
from emulators.modal.calls import Calls, Input
from emulators.modal.container_door import ContainerDoor
from emulators.modal.containers import Container, Hooks, Layout, machine_environment
from emulators.modal.dicts import Dicts
from emulators.modal.functions import Function, Functions
from emulators.modal.images import Images
from emulators.modal.inspection import Inspection
from emulators.modal.mounts import Blobs, Mounts
from emulators.modal.report import Record, Reporter
from emulators.modal.rpc import Journal, Switchboard
from emulators.modal.scheduler import Scheduler
from emulators.modal.secret_store import Secrets
from emulators.modal.shell import Shell
from emulators.modal.volumes import Volumes
from emulators.modal.web import Site, WebDoor


@dataclass(frozen=True)
class Options:
    """What a user of the emulator chooses; see `ModalEmulator` for the meaning of each."""

    secrets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    own_ports: Sequence[str] = ()
    volumes: Mapping[str, Path] = field(default_factory=dict)
    proxy_tokens: Mapping[str, str] = field(default_factory=dict)
    environments: Sequence[str] = ("main",)
    image_builder_version: str = "2025.06"
    most_containers: int = 4
    web_seconds: float = 150.0
    grace: float = 10.0
    isolated: bool = True
    commit_seconds: float | None = 2.0


class ControlPlane:
    """The emulated platform, all on one event loop; `home` is its folder on disk."""

    def __init__(self, home: Path, options: Options, free_port: Any) -> None:
        self._home = home
        self._options = options
        self._free_port = free_port
        for name in ("mounts", "blobs", "volumes"):
            (home / name).mkdir(parents=True)
        self.journal = Journal()
        self.blobs = Blobs(home / "blobs")
        self.mounts = Mounts(home / "mounts", self.blobs)
        self.volumes = Volumes(home / "volumes", dict(options.volumes))
        self.secrets = Secrets(options.secrets)
        self.dicts = Dicts()
        self.images = Images(self.mounts)
        self.functions = Functions(self._web_address)
        self.apps = Apps(
            options.image_builder_version,
            options.environments,
            layout_objects=self._layout_objects,
            published=self._published,
            stopped=self._stopped,
        )
        self.functions.apps = self.apps
        self.shell = Shell(lambda: self.containers)
        self.inspection = Inspection(options.environments, self.apps, self.functions, lambda: self.containers)
        self.scheduler = Scheduler[Input](self._definition, self._launch, options.most_containers)
        self.calls = Calls(self.scheduler)
        self.scheduler.finish = self.calls.finish
        self.web = WebDoor(
            self.functions, self.calls, self.blobs, tokens=options.proxy_tokens, seconds=options.web_seconds
        )
        self.reporter = Reporter(self.functions, self.images, self.volumes, self.secrets, self.mounts)
        self.sites: dict[tuple[str, str, str], Site] = {}
        self.containers: list[Container] = []
        self.published: list[Record] = []
        self._committing: dict[str, asyncio.Task[None]] = {}

    @property
    def switchboard(self) -> Switchboard:
        """The service that clients talk to."""
        return Switchboard(self._rooms(), self.journal)

    @property
    def router(self) -> Switchboard:
        """The service that commands for running containers go to."""
        return Switchboard([self.shell], self.journal, shell.SERVICE)

    async def close(self) -> None:
        """Ends every container, in good order where they follow the request, and the web sites."""
        for app in self.apps.by_id.values():
            await self._stopped(app)
        for site in self.sites.values():
            if site.runner is not None:
                await site.runner.cleanup()

    def _rooms(self) -> list[object]:
        return [
            *(self.apps, self.functions, self.calls, self.images),
            *(self.volumes, self.secrets, self.mounts, self.blobs, self.dicts),
            *(self.inspection, self.shell),
        ]

    def _web_address(self, app: App, function: str, method: str) -> str:
        """The site for a web function: the same for every deployment of the App under its name."""
        key = _site_key(app, function, method)
        if key not in self.sites:
            self.sites[key] = Site(method, self._free_port())
        return self.sites[key].url

    async def _published(self, app: App) -> None:
        function_ids = set(app.function_ids.values())
        self.scheduler.retire(self._with_variants(function_ids))
        for function_id in function_ids:
            function = self.functions.by_id[function_id]
            for method in function.urls:
                site = self.sites[_site_key(app, function.name, method)]
                site.function_id = function_id
                if site.runner is None:
                    await self.web.serve(site)
        self.published.append(self.reporter.app(app))
        for function_id in function_ids:
            self.scheduler.keep_warm(function_id)

    async def _stopped(self, app: App) -> None:
        function_ids = self._with_variants(set(app.function_ids.values()))
        self.scheduler.abandon(function_ids)
        for site in self.sites.values():
            site.function_id = "" if site.function_id in function_ids else site.function_id
        busy = {worker for each in function_ids for worker, jobs in self.scheduler.pool(each).workers.items() if jobs}
        self.scheduler.retire(function_ids)
        mine = [container for container in self.containers if container.function_id in function_ids]
        for container in mine:
            if not container.greeted:
                container.kill()
            elif container in busy or not container.ready:
                container.terminate("the App was stopped")
        await asyncio.gather(*(self._let_end(container) for container in mine))

    async def _let_end(self, container: Container) -> None:
        try:
            async with asyncio.timeout(self._options.grace):
                await container.ended.wait()
        except TimeoutError:
            container.terminate("it did not end by itself")
            await container.ended.wait()

    def _with_variants(self, function_ids: set[str]) -> set[str]:
        variants = {each.id for each in self.functions.by_id.values() if each.base_id in function_ids}
        return function_ids | variants

    def _definition(self, function_id: str) -> Any:
        return self.functions.require(function_id).definition

    def _launch(self, function_id: str) -> Container:
        task_id = f"ta-{len(self.containers) + 1}"
        container = Container(
            task_id=task_id,
            function_id=function_id,
            home=self._home / task_id,
            layout=self._layout(task_id, self.functions.require(function_id)),
            hooks=Hooks(printed=self._log, ended=self._ended, gone=self._gone),
            door=self._door,
            isolated=self._options.isolated,
            grace=self._options.grace,
        )
        self.containers.append(container)
        if self._options.commit_seconds is not None and container.layout.volumes:
            self._committing[task_id] = asyncio.create_task(self._commit(task_id, self._options.commit_seconds))
        return container

    async def _commit(self, task_id: str, seconds: float) -> None:
        """The background commits of one container."""
        while True:
            await asyncio.sleep(seconds)
            await self.volumes.commit_all(task_id)

    async def _ended(self, container: Container) -> None:
        if committing := self._committing.pop(container.task_id, None):
            committing.cancel()
            await asyncio.gather(committing, return_exceptions=True)
        await self.volumes.unmount(container.task_id)

    def _door(self, container: Container) -> Switchboard:
        own = ContainerDoor(container, self.scheduler, self.calls, self.volumes)
        return Switchboard([own, *self._rooms()], self.journal)

    def _layout(self, task_id: str, function: Function) -> Layout:
        app = self.apps.require(function.app_id)
        definition = function.definition
        mounts = {mount.mount_path: self.volumes.mount(mount, task_id) for mount in definition.volume_mounts}
        variables = self.images.environment(definition.image_id, machine_environment())
        for secret_id in definition.secret_ids:
            variables |= self.secrets.values[secret_id]
        snapshot = definition.checkpointing_enabled and app.state == api_pb2.APP_STATE_DEPLOYED
        if snapshot:
            definition = api_pb2.Function.FromString(definition.SerializeToString())
            definition.is_checkpointing_function = True
        variables |= {"MODAL_IMAGE_ID": definition.image_id, "MODAL_ENVIRONMENT": app.environment}
        ports = {name: str(self._free_port()) for name in self._options.own_ports}
        return Layout(
            arguments=api_pb2.ContainerArguments(
                task_id=task_id,
                function_id=function.id,
                app_id=app.id,
                function_def=definition,
                serialized_params=function.serialized_params,
                environment_name=app.environment,
                checkpoint_id=f"ch-{function.id}" if snapshot else "",
                app_layout=self.apps.layout(app),
            ),
            files=[file for mount_id in definition.mount_ids for file in self.mounts.by_id[mount_id]],
            volumes=mounts,
            variables={**variables, **self._options.env, **ports},
        )

    def _layout_objects(self, app: App) -> list[Any]:
        objects = []
        dependencies = set()
        for function_id in app.function_ids.values():
            function = self.functions.by_id[function_id]
            objects.append(api_pb2.Object(object_id=function_id, function_handle_metadata=function.metadata))
            dependencies |= {item.object_id for item in function.definition.object_dependencies}
        for class_id in app.class_ids.values():
            metadata = self.functions.classes[class_id].metadata
            objects.append(api_pb2.Object(object_id=class_id, class_handle_metadata=metadata))
        known = {item.object_id for item in objects}
        return [*objects, *(self._dependency(object_id) for object_id in sorted(dependencies - known))]

    def _dependency(self, object_id: str) -> Any:
        if object_id in self.volumes.by_id:
            return api_pb2.Object(object_id=object_id, volume_metadata=self.volumes.metadata(object_id))
        if object_id in self.mounts.by_id:
            metadata = self.mounts.metadata(object_id)
            return api_pb2.Object(object_id=object_id, mount_handle_metadata=metadata)
        if object_id in self.functions.by_id:
            handle = self.functions.by_id[object_id].metadata
            return api_pb2.Object(object_id=object_id, function_handle_metadata=handle)
        return api_pb2.Object(object_id=object_id)

    def _log(self, container: Container, descriptor: int, text: str) -> None:
        function = self.functions.require(container.function_id)
        line = LogLine(container.task_id, function.id, descriptor, text)
        self.apps.require(function.app_id).logs.put(line)

    def _gone(self, container: Container) -> None:
        result = container.failure
        if result is None and not container.ordered and (container.exit_code or not container.ready):
            result = api_pb2.GenericResult(
                status=api_pb2.GenericResult.GENERIC_STATUS_FAILURE,
                exception=f"The container exited with code {container.exit_code}.",
                exitcode=container.exit_code or 0,
            )
        self.scheduler.gone(container.function_id, container, result)


def _site_key(app: App, function: str, method: str) -> tuple[str, str, str]:
    """`modal run` gives its web functions addresses of their own, ending in -dev, beside those of a deployment."""
    name = f"{app.title}-dev" if app.state == api_pb2.APP_STATE_EPHEMERAL else app.title
    return name, function, method
