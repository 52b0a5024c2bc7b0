"""RunPod's load-balancing endpoints: the worker under the environment that the deployment gives it."""

from collections.abc import Callable
from typing import Any

import requests

from scripts.runpod_deploy.wanted import Wanted
from tests import workflows
from tests.conftest import ROOT, Container, free_port

START = ROOT / "src" / "start.sh"


def environment(**more: str) -> dict[str, str]:
    """What such a worker is started with, on a port that is free here."""
    port = str(free_port())
    wanted = Wanted("comfyport", "image", ("ADA_24",), balanced=True, env={"PORT": port, "PORT_HEALTH": port})
    return {**wanted.environment, "RUNPOD_POD_ID": "worker-1", "RUNPOD_ENDPOINT_ID": "endpoint", **more}


def ping(environ: dict[str, str]) -> requests.Response:
    """What the load balancer asks, on the port of its own."""
    return requests.get(f"http://127.0.0.1:{environ['PORT_HEALTH']}{environ['HEALTH_CHECK_PATH']}", timeout=10)


def test_the_load_balancer_sees_a_start_and_then_a_ready_worker_that_answers(start: Callable[..., Container]):
    environ = environment(COMFYUI_ARGS="--start-delay 1")
    container = start(START, **environ)
    container.read_until("listening on")
    starting = ping(environ)
    container.read_until("ready for jobs")
    body: Any = {"input": {"workflow": workflows.scaled()}}

    answer = requests.post(f"http://127.0.0.1:{environ['PORT']}/runsync", json=body, timeout=30).json()

    assert (starting.status_code, ping(environ).status_code) == (204, 200)
    assert answer["status"] == "COMPLETED"


def test_the_health_check_is_asked_without_a_key(start: Callable[..., Container]):
    environ = environment(COMFYPORT_API_KEY="right")
    start(START, **environ).read_until("ready for jobs", "listening on")

    assert ping(environ).status_code == 200


def test_the_balancer_is_told_the_port_that_the_door_listens_on():
    wanted = Wanted("comfyport", "image", ("ADA_24",), balanced=True)
    moved = Wanted("comfyport", "image", ("ADA_24",), balanced=True, env={"PORT": "9000"})

    assert wanted.container()["ports"] == [f"{wanted.environment['PORT']}/http"] == ["8000/http"]
    assert moved.container()["ports"] == ["9000/http"]
    assert moved.environment["PORT_HEALTH"] == "9000"
