"""Modal for tests of its door: `modal_entry.py` deployed to the emulated platform, in containers like the image's."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from emulators.modal import ModalEmulator
from emulators.modal.platform import may_isolate
from tests.conftest import EMULATOR, ROOT, TINY_CHECKPOINT, write_lock

KEY = {"Authorization": "Bearer modal-key"}
SECRETS = {"comfyport": {"COMFYPORT_API_KEY": "modal-key"}}


class Face:
    """The HTTP face of a deployment, asked with its key."""

    def __init__(self, platform: ModalEmulator, headers: dict[str, str] = KEY) -> None:
        self.platform = platform
        self.url = platform.web_url("comfyport", "api")
        self.headers = headers

    def post(self, path: str, body: Any = None, headers: dict[str, str] | None = None) -> requests.Response:
        return requests.post(self.url + path, json=body, headers=self.headers | (headers or {}), timeout=120)

    def get(self, path: str, headers: dict[str, str] | None = None) -> requests.Response:
        return requests.get(self.url + path, headers=self.headers | (headers or {}), timeout=120)

    def run(self, body: dict[str, Any], **headers: str) -> str:
        """The id of a job that was sent."""
        answer = self.post("/run", body, headers)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    def status(self, job_id: str) -> dict[str, Any]:
        answer = self.get(f"/status/{job_id}")
        assert answer.status_code == 200, answer.text
        shown: dict[str, Any] = answer.json()
        return shown

    def until(self, job_id: str, *statuses: str) -> dict[str, Any]:
        """The job once it has one of these statuses."""
        while (shown := self.status(job_id))["status"] not in statuses:
            assert shown["status"] in ("IN_QUEUE", "IN_PROGRESS"), shown
        return shown

    def ended(self, job_id: str) -> dict[str, Any]:
        return self.until(job_id, "COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT")


def place_checkpoint(folder: Path) -> Path:
    """Puts a checkpoint without weights on the Volume of a deployment to come, as `a.safetensors`; `folder` again."""
    checkpoint = folder / "volume" / "models" / "checkpoints" / "a.safetensors"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(TINY_CHECKPOINT)
    return folder


@contextmanager
def deployment(
    folder: Path, *, deploy: dict[str, str] | None = None, env: dict[str, str] | None = None, **options: Any
) -> Iterator[ModalEmulator]:
    """A platform with the app deployed: `deploy` is set for `modal deploy`, `env` in the containers.

    Its Volume is the folder `volume` in `folder`.
    """
    image = {
        "COMFYPORT_DEVICE": "cpu",
        "COMFYPORT_LOCK": str(write_lock(folder / "models.lock.json")),
        # One that leaves is still there when the next one starts, and must not clear its files away.
        "COMFYPORT_RUN_DIR": "/root/run" if may_isolate() else str(folder / "run"),
        "COMFYUI_DIR": str(EMULATOR),
    }
    given: dict[str, Any] = {
        "secrets": SECRETS,
        "volumes": {"comfyport-models": folder / "volume"},
        "own_ports": ["COMFYUI_PORT"],
        **options,
    }
    with ModalEmulator(env=image | (env or {}), **given) as platform:
        done = client(platform, "-m", "modal", "deploy", str(ROOT / "modal_entry.py"), **(deploy or {}))
        assert done.returncode == 0, done.stdout + done.stderr
        yield platform


def client(platform: ModalEmulator, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Runs Python with `arguments`, with Modal's client pointed at `platform`."""
    return subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | platform.environment() | {"COLUMNS": "200"} | environ,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def printed(done: subprocess.CompletedProcess[str]) -> str:
    """The last line that a program printed."""
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]
