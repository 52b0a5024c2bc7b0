"""Times a container on its way to its first picture, on CPU and without a model."""

import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import requests

from bench import CannotMeasureError, containers
from bench.server import free_ports

TIME_LIMIT = 180.0
POLL_SECONDS = 0.01
JOB = {
    "input": {
        "workflow": {
            "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 255}},
            "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "first"}},
        }
    }
}


@dataclass(frozen=True)
class FirstJob:
    """Seconds from `podman run` until the HTTP door answered, ComfyUI was ready, and the picture was there."""

    listening: float
    ready: float
    finished: float


def empty_container(image: str) -> float:
    """Seconds that a container takes which does nothing."""
    started = time.perf_counter()
    subprocess.run(containers.run_command(image, "true"), check=True, capture_output=True)
    return time.perf_counter() - started


def measure(image: str, folder: Path) -> FirstJob:
    """Starts a container on an empty volume in `folder`, sends a job, and stops it. Raises CannotMeasureError."""
    port, comfyui_port = free_ports(2)
    url = f"http://127.0.0.1:{port}"
    environ = {
        "COMFYPORT_DEVICE": "cpu",
        "COMFYUI_PORT": str(comfyui_port),
        "DOWNLOAD_MODELS_ON_STARTUP": "false",
        "HOST": "127.0.0.1",
        "PORT": str(port),
    }
    options = tuple(f"--env={name}={value}" for name, value in environ.items())
    log = folder / "container.log"
    started = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(
            containers.run_command(image, options=options),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        return _watch(url, started, lambda: process.poll() is None)
    except (requests.RequestException, TimeoutError) as error:
        raise CannotMeasureError(f"the container did no job: {error}\n{log.read_text(errors='replace')}") from None
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(TIME_LIMIT)


def _watch(url: str, started: float, alive: Callable[[], bool]) -> FirstJob:
    listening = ready = 0.0
    with requests.Session() as session:
        while not ready:
            if not alive() or time.perf_counter() - started > TIME_LIMIT:
                raise TimeoutError("it ended, or it was not ready in time")
            try:
                status = session.get(f"{url}/ping", timeout=5).status_code
            except requests.ConnectionError:
                status = 0
            now = time.perf_counter() - started
            listening = listening or (now if status else 0.0)
            ready = now if status == 200 else 0.0
            time.sleep(POLL_SECONDS)
        answer = session.post(f"{url}/runsync", json=JOB, timeout=60).json()
    if answer.get("status") != "COMPLETED":
        raise TimeoutError(f"the job failed: {answer}")
    return FirstJob(listening, ready, time.perf_counter() - started)
