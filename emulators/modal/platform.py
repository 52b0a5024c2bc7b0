"""The emulator as a program or a test holds it: an address for clients, and what they did."""

import asyncio
import importlib.metadata
import json
import logging
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from aiohttp import web

from emulators.modal.checkpoints import Checkpoint
from emulators.modal.containers import LAUNCHER
from emulators.modal.control_plane import ControlPlane, Options
from emulators.modal.report import Record
from emulators.modal.rpc import Listener
from emulators.modal.volumes import VolumeCall
from emulators.server import free_port, stop_accepting

logger = logging.getLogger(__name__)
MODAL_VERSION = "1.6.4"
Value = TypeVar("Value")


class ModalEmulator:
    """Modal's control plane and workers on loopback, from the moment `with` is entered until it is left.

    secrets: values of the named Secrets, `{"name": {"KEY": "value"}}`; other names are not found.
    env: variables that every container gets, on top of everything else.
    own_ports: variables that give each container a free port of its own; the network of all is this machine's.
    volumes: folders on disk to use for named Volumes; others live in a temporary folder.
    proxy_tokens: accepted Modal-Key to Modal-Secret, for `requires_proxy_auth`.
    environments: those of the workspace; the first is its default.
    image_builder_version: what the workspace is set to; decides how the client packs images.
    most_containers: how many containers one function gets at most, whatever it asks for.
    web_seconds: how long a web request waits before it is answered with a 303 (Modal: 150).
    grace: seconds that a container has to end by itself.
    isolated: give containers a root directory of their own, so that mount paths exist; None means when the
        system allows it.
    commit_seconds: how often the platform commits what a running container has written; None: at its end only.
    """

    def __init__(
        self,
        *,
        secrets: Mapping[str, Mapping[str, str]] | None = None,
        env: Mapping[str, str] | None = None,
        own_ports: Sequence[str] = (),
        volumes: Mapping[str, Path] | None = None,
        proxy_tokens: Mapping[str, str] | None = None,
        environments: Sequence[str] = ("main",),
        image_builder_version: str = "2025.06",
        most_containers: int = 4,
        web_seconds: float = 150.0,
        grace: float = 10.0,
        isolated: bool | None = None,
        commit_seconds: float | None = 2.0,
    ) -> None:
        self.isolated = may_isolate() if isolated is None else isolated
        self._options = Options(
            secrets=secrets or {},
            env=env or {},
            own_ports=own_ports,
            volumes={name: Path(folder).absolute() for name, folder in (volumes or {}).items()},
            proxy_tokens=proxy_tokens or {},
            environments=environments,
            image_builder_version=image_builder_version,
            most_containers=most_containers,
            web_seconds=web_seconds,
            grace=grace,
            isolated=self.isolated,
            commit_seconds=commit_seconds,
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._turn, name="ModalEmulator", daemon=True)

    def __enter__(self) -> Self:
        installed = importlib.metadata.version("modal")
        if installed != MODAL_VERSION:
            logger.warning("modal %s is installed; this emulator plays %s", installed, MODAL_VERSION)
        # A unix socket's path holds about 100 characters, so the folder's name is short.
        self._home = Path(tempfile.mkdtemp(prefix="modal-"))
        self._thread.start()
        self._run(self._start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        shutil.rmtree(self._home)

    @property
    def url(self) -> str:
        """The address for MODAL_SERVER_URL."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def deployments(self) -> list[Record]:
        """One record per `modal deploy` or `modal app rollover`, oldest first; what is in it: `report.Reporter.app`."""
        return [record for record in self._plane.published if record["state"] == "deployed"]

    @property
    def runs(self) -> list[Record]:
        """One record per `modal run`, of the same form."""
        return [record for record in self._plane.published if record["state"] == "run"]

    @property
    def images(self) -> list[Record]:
        """Every image layer that was asked for, failed ones included."""
        return [self._plane.reporter.image(image_id) for image_id in list(self._plane.images.by_id)]

    @property
    def calls(self) -> list[str]:
        """The names of the RPCs that were asked, in order."""
        return list(self._plane.journal.calls)

    @property
    def not_played(self) -> list[str]:
        """The RPCs that were answered with UNIMPLEMENTED."""
        return list(self._plane.journal.not_played)

    @property
    def volume_calls(self) -> list[VolumeCall]:
        """Every commit and reload, in order, with the container that asked."""
        return list(self._plane.volumes.calls)

    @property
    def logs(self) -> str:
        """Everything that containers printed, App by App."""
        apps = list(self._plane.apps.by_id.values())
        return "".join(line.text for app in apps for line in list(app.logs.items))

    @property
    def containers(self) -> list[Record]:
        """Every container that was started: task id, function, exit code (None while it runs)."""
        functions = self._plane.functions.by_id
        return [
            {
                "task_id": each.task_id,
                "function": functions[each.function_id].name,
                "exit_code": each.exit_code,
            }
            for each in list(self._plane.containers)
        ]

    @property
    def checkpoints(self) -> list[Checkpoint]:
        """Every memory snapshot that was taken, with what led out of its container then."""
        return [each.checkpoint for each in list(self._plane.containers) if each.checkpoint]

    def environment(self) -> dict[str, str]:
        """The variables that point a Modal client here and keep it from any real account."""
        return {
            "MODAL_SERVER_URL": self.url,
            "MODAL_TOKEN_ID": "ak-emulator",
            "MODAL_TOKEN_SECRET": "as-emulator",
            "MODAL_CONFIG_PATH": str(self._home / "modal.toml"),
            "MODAL_ENVIRONMENT": "main",
        }

    def volume_dir(self, name: str) -> Path:
        """The folder that holds what was committed to a Volume."""
        return self._plane.volumes.folder(name)

    def web_url(self, app: str, function: str, method: str = "") -> str:
        """The address of a web function; for a class `function` is `Name.*` and `method` its method."""
        return self._plane.sites[app, function, method].url

    def expire(self, function_call_id: str) -> None:
        """Forgets a call's outputs, as the platform does after a week."""
        self._plane.calls.by_id[function_call_id].expired = True

    def preempt(self, task_id: str) -> None:
        """Takes a container away at once, as the platform may at any time; what it had begins anew elsewhere."""
        (container,) = [each for each in self._plane.containers if each.task_id == task_id]
        self._loop.call_soon_threadsafe(container.kill)

    def forget(self, name: str) -> None:
        """Forgets the entries of a Dict, as the platform does with those that nobody touched for a week."""
        for found in self._plane.dicts.by_id.values():
            if found.name == name:
                found.entries.clear()

    def write_report(self, path: Path) -> None:
        """Writes everything above as one JSON document."""
        report = {
            "deployments": self.deployments,
            "runs": self.runs,
            "containers": self.containers,
            "volume_calls": [vars(call) for call in self.volume_calls],
            "calls": self.calls,
            "not_played": self.not_played,
            "isolated": self.isolated,
        }
        path.write_text(json.dumps(report, indent=2) + "\n")

    def _run(self, work: Coroutine[Any, Any, Value]) -> Value:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _turn(self) -> None:
        # Leaving it ends the tasks that are left.
        with asyncio.Runner(loop_factory=lambda: self._loop):
            self._loop.run_forever()

    async def _start(self) -> None:
        self._plane = ControlPlane(self._home, self._options, free_port)
        self._listener = Listener(self._plane.switchboard)
        self._port = free_port()
        await self._listener.start(host="127.0.0.1", port=self._port)
        self._router = Listener(self._plane.router)
        port = free_port()
        await self._router.start(host="127.0.0.1", port=port)
        self._plane.shell.url = f"http://127.0.0.1:{port}"
        app = web.Application(client_max_size=0)
        app.add_routes(self._plane.blobs.routes())
        self._http = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._http.setup()
        await web.TCPSite(self._http, "127.0.0.1", 0).start()
        self._plane.blobs.url = f"http://127.0.0.1:{self._http.addresses[0][1]}"

    async def _stop(self) -> None:
        await self._plane.close()
        await self._listener.close()
        await self._router.close()
        await stop_accepting(self._http)
        await self._http.cleanup()


def may_isolate() -> bool:
    """Whether this system lets a process have a root directory of its own (see `container_root.py`)."""
    with tempfile.TemporaryDirectory() as folder:
        plan = Path(folder, "plan.json")
        root = Path(folder, "root")
        root.mkdir()
        plan.write_text(json.dumps({"root": str(root), "cwd": "/", "hide": [], "bind": {}}))
        command = [*LAUNCHER, str(plan), "true"]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
