"""What a client may look up from outside: environments, Apps, running containers, logs that were printed."""

from collections.abc import Callable, Sequence
from typing import Any

from modal_proto import api_pb2

from emulators.modal.apps import Apps, log_entry
from emulators.modal.containers import Container
from emulators.modal.functions import Functions


class Inspection:
    """Answers the RPCs behind `modal environment list`, `app list`, `container list` and `app logs`."""

    def __init__(
        self, environments: Sequence[str], apps: Apps, functions: Functions, containers: Callable[[], list[Container]]
    ) -> None:
        self._environments = environments
        self._apps = apps
        self._functions = functions
        self._containers = containers

    async def environment_list(self, request: Any) -> Any:
        """The environments of the workspace; the first is its default."""
        items = [
            api_pb2.EnvironmentListItem(name=name, environment_id=f"en-{name}", default=name == self._environments[0])
            for name in self._environments
        ]
        return api_pb2.EnvironmentListResponse(items=items)

    async def app_list(self, request: api_pb2.AppListRequest) -> Any:
        """The Apps of an environment, stopped ones included."""
        running = self._running()
        apps = [
            api_pb2.AppListResponse.AppListItem(
                app_id=app.id,
                description=app.title,
                name=app.name,
                state=api_pb2.AppState.ValueType(app.state),
                n_running_tasks=sum(app_id == app.id for app_id, _ in running),
            )
            for app in self._apps.by_id.values()
            if app.environment == (request.environment_name or self._environments[0])
        ]
        return api_pb2.AppListResponse(apps=apps)

    async def task_list(self, request: api_pb2.TaskListRequest) -> Any:
        """The containers that run, of one App if it is named."""
        tasks = [
            api_pb2.TaskStats(
                task_id=container.task_id,
                app_id=app_id,
                app_description=self._apps.require(app_id).title,
                started_at=container.started_at,
            )
            for app_id, container in self._running()
            if request.app_id in ("", app_id)
        ]
        return api_pb2.TaskListResponse(tasks=tasks)

    async def app_fetch_logs(self, request: api_pb2.AppFetchLogsRequest) -> Any:
        """The last lines that an App's containers printed; times and filters are not looked at."""
        lines = self._apps.require(request.app_id).logs.items[-request.limit :]
        batches = [
            api_pb2.TaskLogsBatch(task_id=line.task_id, function_id=line.function_id, items=[log_entry(line)])
            for line in lines
        ]
        return api_pb2.AppFetchLogsResponse(batches=batches)

    def _running(self) -> list[tuple[str, Container]]:
        """The containers that have not ended, each with its App's id."""
        alive = [container for container in self._containers() if container.exit_code is None]
        return [(self._functions.by_id[container.function_id].app_id, container) for container in alive]
