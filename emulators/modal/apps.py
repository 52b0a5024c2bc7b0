"""Apps: created, published, stopped; their logs; and the environment they live in."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from grpclib import Status
from modal_proto import api_pb2

from emulators.modal.feed import Feed
from emulators.modal.rpc import Empty, refused

_DESCRIPTORS = {1: api_pb2.FILE_DESCRIPTOR_STDOUT, 2: api_pb2.FILE_DESCRIPTOR_STDERR}


@dataclass(frozen=True)
class LogLine:
    """What a container printed, one line with its newline; `descriptor` is 1 (stdout) or 2 (stderr)."""

    task_id: str
    function_id: str
    descriptor: int
    text: str


@dataclass
class App:
    """One App. `name` is its deployment name; a `modal run` has a description only."""

    id: str
    description: str
    environment: str
    state: int
    name: str = ""
    function_ids: dict[str, str] = field(default_factory=dict)
    class_ids: dict[str, str] = field(default_factory=dict)
    logs: Feed[LogLine] = field(default_factory=Feed)
    tags: dict[str, str] = field(default_factory=dict)
    version: int = 0

    @property
    def title(self) -> str:
        """The deployment name, or else what the client called this run."""
        return self.name or self.description


def log_entry(line: LogLine) -> Any:
    """A line as the client is told of it."""
    return api_pb2.TaskLogs(data=line.text, file_descriptor=_DESCRIPTORS[line.descriptor], timestamp=time.time())


AppEvent = Callable[[App], Awaitable[None]]
LayoutObjects = Callable[[App], list[Any]]


class Apps:
    """Answers the App and Environment RPCs; `published` and `stopped` tell the rest of the emulator."""

    def __init__(
        self,
        builder_version: str,
        environments: Sequence[str],
        *,
        layout_objects: LayoutObjects,
        published: AppEvent,
        stopped: AppEvent,
    ) -> None:
        self._builder_version = builder_version
        self._environments = environments
        self._layout_objects = layout_objects
        self._published = published
        self._stopped = stopped
        self.by_id: dict[str, App] = {}

    async def client_hello(self, request: Empty) -> Any:
        """Greets a client."""
        return api_pb2.ClientHelloResponse(image_builder_version=self._builder_version)

    async def environment_get_or_create(self, request: api_pb2.EnvironmentGetOrCreateRequest) -> Any:
        """Finds an environment, the default one without a name, and tells the image builder version it asks for."""
        name = request.deployment_name or self._environments[0]
        if name not in self._environments:
            raise refused(Status.NOT_FOUND, f"Environment {name!r} not found.")
        settings = api_pb2.EnvironmentSettings(image_builder_version=self._builder_version)
        return api_pb2.EnvironmentGetOrCreateResponse(
            environment_id=f"en-{name}", metadata=api_pb2.EnvironmentMetadata(name=name, settings=settings)
        )

    async def app_get_by_deployment_name(self, request: api_pb2.AppGetByDeploymentNameRequest) -> Any:
        """Finds a deployed App; an empty id says that there is none."""
        app = self._deployed(request.name, request.environment_name)
        if app is None:
            return api_pb2.AppGetByDeploymentNameResponse(environment_name=request.environment_name or "main")
        lifecycle = api_pb2.AppLifecycle(app_state=app.state, version=app.version)  # type: ignore[arg-type]
        return api_pb2.AppGetByDeploymentNameResponse(
            app_id=app.id, environment_name=app.environment, lifecycle=lifecycle
        )

    async def app_create(self, request: api_pb2.AppCreateRequest) -> Any:
        """Creates an App, for a run or for a first deployment."""
        app = self._create(request.description, request.environment_name, request.app_state)
        app.tags = dict(request.tags)
        page = f"https://modal.com/apps/emulator/main/{app.id}"
        return api_pb2.AppCreateResponse(app_id=app.id, app_page_url=page, app_logs_url=f"{page}?activeTab=logs")

    async def app_get_or_create(self, request: api_pb2.AppGetOrCreateRequest) -> Any:
        """Finds an App by name (`App.lookup`), or creates it if asked to."""
        app = self._deployed(request.app_name, request.environment_name)
        if app is None:
            if request.object_creation_type != api_pb2.OBJECT_CREATION_TYPE_CREATE_IF_MISSING:
                raise refused(Status.NOT_FOUND, f"App {request.app_name!r} not found.")
            app = self._create(request.app_name, request.environment_name, api_pb2.APP_STATE_DEPLOYED)
            app.name = request.app_name
        return api_pb2.AppGetOrCreateResponse(app_id=app.id)

    async def app_get_layout(self, request: api_pb2.AppGetLayoutRequest) -> Any:
        """Says which functions and classes the App holds, so that a new deployment keeps their ids."""
        return api_pb2.AppGetLayoutResponse(app_layout=self.layout(self.require(request.app_id)))

    async def app_publish(self, request: api_pb2.AppPublishRequest) -> Any:
        """Makes the App's functions live, as a deployment or for a run."""
        app = self.require(request.app_id)
        app.function_ids = dict(request.function_ids)
        app.class_ids = dict(request.class_ids)
        app.name = request.name or app.name
        app.state = request.app_state or app.state
        app.version += 1
        await self._published(app)
        url = f"https://modal.com/apps/emulator/main/deployed/{app.name}"
        return api_pb2.AppPublishResponse(url=url, deployed_at=time.time())

    async def app_rollover(self, request: api_pb2.AppRolloverRequest) -> Any:
        """Deploys the App once more as it is: its containers end after what they do now, and new ones take over."""
        app = self.require(request.app_id)
        app.version += 1
        await self._published(app)
        url = f"https://modal.com/apps/emulator/main/deployed/{app.name}"
        return api_pb2.AppRolloverResponse(url=url, deployed_at=time.time())

    async def app_heartbeat(self, request: api_pb2.AppHeartbeatRequest) -> Empty:
        """Hears that the client is alive."""
        return Empty()

    async def app_client_disconnect(self, request: api_pb2.AppClientDisconnectRequest) -> Empty:
        """Ends a run or a failed deployment; deployed and detached Apps go on."""
        app = self.require(request.app_id)
        if app.state in (api_pb2.APP_STATE_EPHEMERAL, api_pb2.APP_STATE_INITIALIZING):
            await self._stop(app)
        return Empty()

    async def app_stop(self, request: api_pb2.AppStopRequest) -> Empty:
        """Stops an App (`modal app stop`)."""
        await self._stop(self.require(request.app_id))
        return Empty()

    async def app_get_logs(self, request: api_pb2.AppGetLogsRequest) -> AsyncIterator[Any]:
        """Streams what the App's containers print; the last batch says when the App is done."""
        app = self.require(request.app_id)
        start = int(request.last_entry_id or 0)
        async for line in app.logs.follow(start, seconds=request.timeout):
            start += 1
            yield api_pb2.TaskLogsBatch(
                task_id=line.task_id, function_id=line.function_id, entry_id=str(start), items=[log_entry(line)]
            )
        if app.logs.closed:
            yield api_pb2.TaskLogsBatch(app_done=True)

    def require(self, app_id: str) -> App:
        """The App with this id, or NOT_FOUND."""
        if app_id not in self.by_id:
            raise refused(Status.NOT_FOUND, f"App {app_id!r} not found.")
        return self.by_id[app_id]

    def deployed(self, name: str, environment: str) -> App:
        """The App deployed under this name, or NOT_FOUND."""
        app = self._deployed(name, environment)
        if app is None:
            raise refused(Status.NOT_FOUND, f"App {name!r} not found.")
        return app

    def layout(self, app: App) -> Any:
        """The `AppLayout`: what stands in the App, with the metadata that handles need."""
        return api_pb2.AppLayout(
            objects=self._layout_objects(app), function_ids=app.function_ids, class_ids=app.class_ids
        )

    def _create(self, description: str, environment: str, state: int) -> App:
        app = App(f"ap-{len(self.by_id) + 1}", description, environment or "main", state)
        self.by_id[app.id] = app
        return app

    def _deployed(self, name: str, environment: str) -> App | None:
        live = (app for app in self.by_id.values() if app.state == api_pb2.APP_STATE_DEPLOYED)
        wanted = (name, environment or "main")
        return next((app for app in live if (app.name, app.environment) == wanted), None)

    async def _stop(self, app: App) -> None:
        app.state = api_pb2.APP_STATE_STOPPED
        await self._stopped(app)
        app.logs.close()
