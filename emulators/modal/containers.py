"""Containers: the real container runtime of the installed modal package, as a process of the local Python.

What a container finds: the uploaded files at their paths, `/root` as its working directory and home, its
Volumes at their mount paths, the variables of its image, its Secrets and the platform's own. Where the system
allows no mount namespace, files below `/root` are found through the working directory, those at other paths
are missing, and Volumes are found through `MODAL_EMULATOR_VOLUME_<NAME>` (the name in upper case, other
characters as `_`), which is set in any case.
"""

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modal_proto import api_pb2

from emulators.modal.checkpoints import Checkpoint, connected_to
from emulators.modal.mounts import MountedFile
from emulators.modal.rpc import Listener, Switchboard
from emulators.modal.volume_copies import Copy

RUNTIME = (sys.executable, "-m", "modal._container_entrypoint")
LAUNCHER = (sys.executable, "-I", "-S", str(Path(__file__).with_name("container_root.py")))
_NOT_A_NAME = re.compile(r"[^A-Z0-9]+")


@dataclass(frozen=True)
class Layout:
    """What one container is made of; `volumes` are its copies, by the paths where they are mounted."""

    arguments: Any
    files: list[MountedFile]
    volumes: dict[str, Copy]
    variables: dict[str, str]


@dataclass(frozen=True)
class Hooks:
    """What a container tells the rest: lines it prints (descriptor, text), that it runs no more, that it is gone."""

    printed: Callable[["Container", int, str], None]
    ended: Callable[["Container"], Awaitable[None]]
    gone: Callable[["Container"], None]


@dataclass(frozen=True)
class Inside:
    """What programs in a container start with: a root directory of its own by way of `launcher`, folder, variables."""

    launcher: tuple[str, ...]
    folder: Path
    variables: dict[str, str]

    async def run(self, *command: str) -> asyncio.subprocess.Process:
        """Starts `command` in a process group of its own; its output is read through pipes."""
        return await asyncio.create_subprocess_exec(
            *self.launcher,
            *command,
            cwd=self.folder,
            env=self.variables,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )


@dataclass(eq=False)
class Container:
    """One container. `failure` is what its runtime reported about a start that failed.

    stopping: it takes no more inputs; ordered: its end was asked for, so its exit code says nothing;
    greeted: its runtime is up; ready: it has asked for inputs.
    """

    task_id: str
    function_id: str
    home: Path
    layout: Layout
    hooks: Hooks
    door: Callable[["Container"], Switchboard]
    isolated: bool
    grace: float
    stopping: bool = False
    ordered: bool = False
    greeted: bool = False
    ready: bool = False
    failure: Any = None
    exit_code: int | None = None
    checkpoint: Checkpoint | None = None
    cancelled: asyncio.Queue[list[str]] = field(default_factory=asyncio.Queue)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    _process: asyncio.subprocess.Process | None = None
    _inside: Inside | None = None
    _beside: list[asyncio.subprocess.Process] = field(default_factory=list)
    _life: asyncio.Task[None] | None = None
    _killer: asyncio.TimerHandle | None = None
    started_at: float = field(default_factory=time.time)

    @property
    def restore_state(self) -> Path:
        """The file whose appearance tells a snapshotted runtime that it was restored."""
        return self.home / "restore-state.json"

    def take_checkpoint(self) -> None:
        """Notes what would be in a memory snapshot of it now, and has it restored from that: it goes on as it is."""
        pid = self._process.pid if self._process else 0
        self.checkpoint = Checkpoint(self.task_id, connected_to(pid))
        self.restore_state.write_text(json.dumps({"task_id": self.task_id, "function_id": self.function_id}))

    def start(self) -> None:
        """Begins to start; returns at once."""
        self._life = asyncio.get_running_loop().create_task(self._live())

    def cancel_inputs(self, input_ids: list[str]) -> None:
        """Tells the container, through its next heartbeat, to give these inputs up."""
        self.cancelled.put_nowait(input_ids)

    def terminate(self, reason: str) -> None:
        """Interrupts the container, as the platform does; kills it when it has not ended in time."""
        self.stopping = self.ordered = True
        if self._process is None or self._process.returncode is not None:
            return
        self.hooks.printed(self, 2, f"Container {self.task_id} is stopped: {reason}.\n")
        # Only the runtime itself is told, so that its exit hooks can still use the processes they started.
        self._process.send_signal(signal.SIGINT)
        loop = asyncio.get_running_loop()
        self._killer = self._killer or loop.call_later(self.grace, self.kill)

    async def run_beside(self, *command: str) -> asyncio.subprocess.Process | None:
        """Starts a program that finds what the container's own finds, and ends with it; None before that is up."""
        if self._inside is None:
            return None
        program = await self._inside.run(*command)
        self._beside.append(program)
        return program

    async def _live(self) -> None:
        socket = self.home / "control.sock"
        listener = Listener(self.door(self))
        self.home.mkdir(parents=True)
        await listener.start(path=str(socket))
        try:
            await self._run(f"unix://{socket}")
        except OSError as error:
            self.failure = api_pb2.GenericResult(
                status=api_pb2.GenericResult.GENERIC_STATUS_INTERNAL_FAILURE,
                exception=f"The emulator could not start a container: {error}",
            )
        finally:
            await listener.close()
            self.stopping = True
            await self.hooks.ended(self)
            self.hooks.gone(self)
            shutil.rmtree(self.home, ignore_errors=True)
            self.ended.set()

    async def _run(self, server_url: str) -> None:
        root = self._lay_out()
        arguments = self.home / "arguments.pb"
        arguments.write_bytes(self.layout.arguments.SerializeToString())
        self._inside = Inside(
            launcher=(*LAUNCHER, str(self._plan(root))) if self.isolated else (),
            folder=root,
            variables=self._environment(root, server_url, arguments),
        )
        process = self._process = await self._inside.run(*RUNTIME)
        if self.ordered:
            self._kill_group()
        seconds = self.layout.arguments.function_def.startup_timeout_secs
        loop = asyncio.get_running_loop()
        startup = loop.call_later(seconds, self._start_too_slow, seconds) if seconds else None
        readers = [
            loop.create_task(self._read(stream, number))
            for number, stream in ((1, process.stdout), (2, process.stderr))
            if stream is not None
        ]
        self.exit_code = await process.wait()
        for timer in (startup, self._killer):
            if timer is not None:
                timer.cancel()
        # What the container started ends with it; only then do its pipes close.
        self._kill_group()
        await asyncio.gather(*readers)

    async def _read(self, stream: asyncio.StreamReader, descriptor: int) -> None:
        pending = ""
        while chunk := await stream.read(1 << 16):
            *lines, pending = (pending + chunk.decode(errors="replace")).split("\n")
            for line in lines:
                self.hooks.printed(self, descriptor, f"{line}\n")
        if pending:
            self.hooks.printed(self, descriptor, f"{pending}\n")

    def _start_too_slow(self, seconds: int) -> None:
        if not self.ready:
            self.failure = api_pb2.GenericResult(
                status=api_pb2.GenericResult.GENERIC_STATUS_TIMEOUT,
                exception=f"The container was not ready after its startup timeout of {seconds}s",
            )
            self.terminate(f"not ready after {seconds} s")

    def kill(self) -> None:
        """Ends the container's processes at once."""
        self.stopping = self.ordered = True
        self._kill_group()

    def _kill_group(self) -> None:
        beside = [program for program in self._beside if program.returncode is None]
        for process in (self._process, *beside):
            if process is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    def _lay_out(self) -> Path:
        """Copies the uploaded files into a folder of the container's own; returns what plays `/root`."""
        root = self.home / "files" / "root"
        root.mkdir(parents=True)
        for file in self.layout.files:
            target = self._copy_of(file)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file.source, target)
        return root

    def _copy_of(self, file: MountedFile) -> Path:
        return self.home / "files" / file.path.lstrip("/")

    def _plan(self, root: Path) -> Path:
        """Writes what `container_root.py` needs to know."""
        new_root = self.home / "machine"
        new_root.mkdir()
        bind = {str(path): str(path) for path in _interpreter_below_root()}
        bind.update({f"/root/{entry.name}": str(entry) for entry in root.iterdir()})
        outside = (file for file in self.layout.files if not Path(file.path).is_relative_to("/root"))
        bind.update({file.path: str(self._copy_of(file)) for file in outside})
        bind.update({path: str(volume.path) for path, volume in self.layout.volumes.items()})
        plan = self.home / "plan.json"
        plan.write_text(json.dumps({"root": str(new_root), "cwd": "/root", "hide": ["/root"], "bind": bind}))
        return plan

    def _environment(self, root: Path, server_url: str, arguments: Path) -> dict[str, str]:
        home = "/root" if self.isolated else str(root)
        values = dict(self.layout.variables)
        for path, volume in self.layout.volumes.items():
            variable = f"MODAL_EMULATOR_VOLUME_{_NOT_A_NAME.sub('_', volume.name.upper())}"
            values[variable] = path if self.isolated else str(volume.path)
        # The image is not built, so the programs are this machine's, the running Python's first.
        values["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), values.get("PATH", os.defpath)])
        values["PYTHONPATH"] = os.pathsep.join(filter(None, [home, values.get("PYTHONPATH", "")]))
        values |= {
            "HOME": home,
            "MODAL_SERVER_URL": server_url,
            "MODAL_CONTAINER_ARGUMENTS_PATH": str(arguments),
            "MODAL_CONFIG_PATH": str(self.home / "modal.toml"),
            "MODAL_TASK_ID": self.task_id,
            "MODAL_IS_REMOTE": "1",
        }
        if self.layout.arguments.checkpoint_id:
            values |= {
                "MODAL_ENABLE_SNAP_RESTORE": "1",
                "MODAL_RESTORE_STATE_PATH": str(self.restore_state),
            }
        return values


def machine_environment() -> dict[str, str]:
    """What a container takes over from this machine: where programs are and how text is written."""
    kept = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR")
    return {"PYTHONUNBUFFERED": "1", **{name: os.environ[name] for name in kept if name in os.environ}}


def _interpreter_below_root() -> Iterator[Path]:
    """The folders of the running Python that would vanish with the machine's `/root`."""
    places = {Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable).resolve().parents[1]}
    return (place for place in places if place.is_relative_to("/root"))
