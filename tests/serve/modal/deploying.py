"""An emulated Modal on which `modal_entry.py` is deployed as somebody's settings have it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from emulators.modal import ModalEmulator
from tests import workflows
from tests.conftest import EMULATOR, ROOT, free_port, write_lock

SECRETS = {"comfyport": {"COMFYPORT_API_KEY": "modal-key"}}
PROXY = {"Modal-Key": "wk-1", "Modal-Secret": "ws-1"}


def image_environ(folder: Path, **more: str) -> dict[str, str]:
    """What the image's environment would be, on a machine without a GPU, with files below `folder`."""
    return {
        "COMFYPORT_DEVICE": "cpu",
        "COMFYPORT_LOCK": str(write_lock(folder / "models.lock.json")),
        "COMFYPORT_RUN_DIR": str(folder / "run"),
        "COMFYUI_DIR": str(EMULATOR),
        "COMFYUI_PORT": str(free_port()),
        **more,
    }


@contextmanager
def deployed(image: Mapping[str, str], **settings: str) -> Iterator[ModalEmulator]:
    """Modal, with `modal_entry.py` deployed under `settings`."""
    with ModalEmulator(secrets=SECRETS, env=image, proxy_tokens={"wk-1": "ws-1"}) as platform:
        done = client(platform, "-m", "modal", "deploy", ROOT / "modal_entry.py", **settings)
        assert done.returncode == 0, done.stdout + done.stderr
        yield platform


def client(platform: ModalEmulator, *arguments: str | Path, **settings: str) -> "subprocess.CompletedProcess[str]":
    """A program in the place of somebody's shell, with Modal's client set up for `platform`."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=os.environ | platform.environment() | {"COLUMNS": "200"} | settings,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def job(platform: ModalEmulator, workflow: Any = None) -> dict[str, Any]:
    """The answer of the GPU class to a job."""
    body = {"input": {"workflow": workflow or workflows.scaled(1)}}
    code = f"import json, modal; print(json.dumps(modal.Cls.from_name('comfyport', 'ComfyUI')().run.remote({body!r})))"
    done = client(platform, "-c", code)
    assert done.returncode == 0, done.stderr + platform.logs
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def functions(platform: ModalEmulator) -> dict[str, Any]:
    """The functions of the deployment, by name."""
    return {function["name"]: function for function in platform.deployments[-1]["functions"]}
