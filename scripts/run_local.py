"""Runs all of comfyport on this machine: models, ComfyUI, HTTP, one job. Started by scripts/run-local.sh.

It starts the very `src/start.sh` of the image. The models of the quickstart are served on loopback by the emulator of
the Hugging Face Hub; those of a lock that --lock names come from where it says, and then it waits for jobs and sends
none. ComfyUI is the one in $COMFYUI_DIR; else the one that --install-comfyui has installed; else the emulator.
"""

import argparse
import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import requests

ROOT = Path(__file__).resolve().parent.parent
QUICKSTART = ROOT / "examples" / "quickstart"
INSTALLED = ROOT / ".comfyui" / "ComfyUI"
EMULATOR = ROOT / "emulators" / "comfyui"
COMFYUI_VERSION = "0.3.64"
STOP_SECONDS = 15


class Failed(Exception):
    """Something that was started has ended; the message is for the person at the terminal."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


def main() -> int:
    """Runs everything; the exit status of the whole."""
    options = _options()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        if options.install_comfyui:
            _install_comfyui()
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="comfyport-")))
            hub = "" if options.lock else stack.enter_context(_hub(folder))
            environment = _environment(hub, folder, options.lock)
            worker = stack.enter_context(_running([str(ROOT / "src" / "start.sh")], env=environment))
            address = f"http://127.0.0.1:{os.environ.get('PORT', '8000')}"
            _wait_ready(address, worker)
            if not options.lock:
                _say(f"Wrote {_run_job(address, worker)}")
            if not options.once:
                _say(f"Serving on {address} (API documentation: {address}/docs). Ctrl-C ends it.")
                raise Failed("The worker ended", worker.wait() or 1)
    except KeyboardInterrupt:
        return 0
    except Failed as failure:
        _say(f"{failure}.")
        return failure.status
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/run-local.sh", description="Runs all of comfyport on this machine.")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--once", action="store_true", help="end after the first job")
    what.add_argument("--lock", type=Path, metavar="FILE", help="bring the models of this lock, and wait for jobs")
    parser.add_argument(
        "--install-comfyui",
        action="store_true",
        help=f"install ComfyUI {COMFYUI_VERSION} with comfy-cli into .comfyui first (several GB)",
    )
    return parser.parse_args()


def _environment(hub: str, folder: Path, lock: Path | None) -> dict[str, str]:
    """What the container's environment would be; what the caller has set wins, but for addresses and the options."""
    comfyui = os.environ.get("COMFYUI_DIR") or (str(INSTALLED) if (INSTALLED / "main.py").is_file() else "")
    if not comfyui and not os.environ.get("COMFYUI_URL"):
        comfyui = str(EMULATOR)
        _say(
            "ComfyUI is played by the emulator. For the real one: scripts/run-local.sh --install-comfyui, "
            "or set COMFYUI_DIR."
        )
    defaults = {
        "COMFYPORT_DEVICE": "gpu" if shutil.which("nvidia-smi") and comfyui != str(EMULATOR) else "cpu",
        "COMFYPORT_LOCK": str(QUICKSTART / "models.lock.json"),
        "COMFYPORT_RUN_DIR": str(folder / "run"),
        "COMFYPORT_VOLUME": str(ROOT / "volume"),
        "RECIPES_DIR": str(ROOT / "recipes"),
        "LOG_LEVEL": "warning",
    }
    paths = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COMFYUI_DIR": comfyui}
    chosen = {"COMFYPORT_LOCK": str(lock.resolve())} if lock else {"HF_ENDPOINT": hub}
    return defaults | os.environ | paths | chosen | {"HOST": "127.0.0.1"}


def _install_comfyui() -> None:
    """Installs ComfyUI with comfy-cli, into an environment of its own; one that was interrupted starts afresh."""
    whole = INSTALLED.parent / "whole"
    if whole.exists():
        _say(f"ComfyUI is installed in {INSTALLED}.")
        return
    shutil.rmtree(INSTALLED, ignore_errors=True)
    INSTALLED.parent.mkdir(exist_ok=True)
    # Without VIRTUAL_ENV comfy-cli makes <workspace>/.venv, which is where the worker looks for ComfyUI's Python.
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    device = "--nvidia" if shutil.which("nvidia-smi") else "--cpu"
    comfy = [str(Path(sys.executable).with_name("comfy")), "--skip-prompt", "--no-enable-telemetry"]
    install = [f"--workspace={INSTALLED}", "install", device, f"--version={COMFYUI_VERSION}", "--skip-manager"]
    # ComfyUI imports requests, which its requirements do not name.
    requests_too = [str(INSTALLED / ".venv" / "bin" / "python"), "-m", "pip", "install", "--quiet", "requests"]
    for command in ([*comfy, *install], requests_too):
        if subprocess.run(command, env=environment, check=False).returncode:
            raise Failed("ComfyUI could not be installed; the messages are above")
    whole.touch()


@contextmanager
def _hub(folder: Path) -> Iterator[str]:
    """The emulated Hub, and its address."""
    address = folder / "hub-address"
    command = [sys.executable, "-m", "emulators.hub", "--quickstart", "--url-file", str(address)]
    with _running(command, stdout=subprocess.DEVNULL, cwd=ROOT) as hub:
        while not address.exists():
            if hub.poll() is not None:
                raise Failed("The emulated Hub did not start; its messages are above")
            time.sleep(0.05)
        yield address.read_text(encoding="utf-8")


@contextmanager
def _running(command: list[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A program that is stopped at the end; apart from the terminal's Ctrl-C, so that it is stopped once."""
    program = subprocess.Popen(command, start_new_session=True, stdin=subprocess.DEVNULL, **options)
    try:
        yield program
    finally:
        program.terminate()
        try:
            program.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(program.pid, signal.SIGKILL)


def _wait_ready(address: str, worker: subprocess.Popen[bytes]) -> None:
    _say("Starting: models and ComfyUI side by side.")
    while True:
        if (status := worker.poll()) is not None:
            raise Failed("The worker could not start; its message is above", status)
        try:
            if requests.get(f"{address}/ping", timeout=5).status_code == 200:
                return
        except requests.RequestException:
            pass
        time.sleep(0.1)


def _run_job(address: str, worker: subprocess.Popen[bytes]) -> Path:
    """Sends the quickstart's job and writes its picture to ./output; the picture's path."""
    started = time.monotonic()
    picture = base64.b64encode((QUICKSTART / "input.png").read_bytes()).decode("ascii")
    workflow = json.loads((QUICKSTART / "workflow.json").read_text(encoding="utf-8"))
    body = {"input": {"workflow": workflow, "images": [{"name": "input.png", "image": picture}]}}
    headers = {"Authorization": f"Bearer {os.environ.get('COMFYPORT_API_KEY', '')}"}
    try:
        job = requests.post(f"{address}/runsync", json=body, headers=headers, timeout=100).json()
        while job.get("status") in ("IN_QUEUE", "IN_PROGRESS"):
            time.sleep(1)
            job = requests.get(f"{address}/status/{job['id']}", headers=headers, timeout=10).json()
    except requests.RequestException:
        raise Failed("The worker ended during the job; its message is above", worker.poll() or 1) from None
    if job.get("status") != "COMPLETED":
        raise Failed(f"The job failed: {job.get('error')}")
    image = job["output"]["images"][0]
    file: Path = ROOT / "output" / Path(image["filename"]).name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(base64.b64decode(image["data"]))
    _say(f"The job took {time.monotonic() - started:.1f} s.")
    return file.relative_to(ROOT)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _say(text: str) -> None:
    sys.stderr.write(f"run-local: {text}\n")


if __name__ == "__main__":
    sys.exit(main())
