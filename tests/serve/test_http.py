"""The HTTP door: the program `src/start.sh`, asked over a real socket."""

import base64
import json

import pytest
import requests

from tests import workflows
from tests.conftest import ROOT, picture
from tests.serve.conftest import Door, job


def test_runsync_answers_with_the_picture(door: Door):
    answer = door().post("/runsync", job(0x0000FF)).json()

    assert answer["status"] == "COMPLETED"
    assert picture(answer["output"]["images"][0]).getpixel((0, 0)) == (0, 0, 255)
    assert answer["executionTime"] >= 0


def test_run_answers_at_once_and_status_tells_the_rest(door: Door):
    address = door()

    queued = address.post("/run", job()).json()
    waited = address.post("/runsync", job(8)).json()
    done = address.get(f"/status/{queued['id']}").json()

    assert queued["status"] in ("IN_QUEUE", "IN_PROGRESS")
    assert waited["status"] == done["status"] == "COMPLETED"


def test_a_failed_job_is_never_told_as_a_success(door: Door):
    answer = door().post("/runsync", {"input": {"workflow": {"1": workflows.node("NoSuchNode")}}}).json()

    assert answer["status"] == "FAILED"
    assert "NoSuchNode" in answer["error"]
    assert answer["output"]["error_code"] == "workflow_rejected"


def test_jobs_that_wait_can_be_cancelled(door: Door):
    address = door(COMFYUI_ARGS="--fault hang")

    running = address.post("/run", job()).json()
    waiting = address.post("/run", job(8)).json()
    cancelled = address.post(f"/cancel/{waiting['id']}").json()
    stopped = address.post(f"/cancel/{running['id']}").json()

    assert (cancelled["status"], stopped["status"]) == ("CANCELLED", "CANCELLED")
    assert address.get(f"/status/{running['id']}").json()["status"] == "CANCELLED"


def test_a_full_queue_says_when_to_come_back(door: Door):
    address = door(COMFYUI_ARGS="--fault hang", QUEUE_SIZE="1")
    answers = [address.post("/run", job()) for _ in range(3)]

    assert answers[-1].status_code == 429
    assert answers[-1].headers["Retry-After"]
    assert answers[-1].json()["error_code"] == "queue_full"


@pytest.mark.parametrize("body", ["", "nonsense", "[]", "{}", '"text"', "\xff"])
def test_a_request_that_is_no_job_is_answered_in_words(door: Door, body: str):
    address = door()

    answer = requests.post(f"{address.url}/run", data=body.encode("latin-1"), timeout=10)

    assert answer.status_code == 400
    assert answer.json()["error_code"] == "invalid_job"
    assert "workflow" in answer.json()["error"]


def test_an_unknown_job_is_not_found(door: Door):
    answer = door().get("/status/none")

    assert (answer.status_code, answer.json()["error_code"]) == (404, "job_unknown")


def test_the_key_guards_every_route_but_ping_and_health(door: Door):
    address = door(COMFYPORT_API_KEY="right")
    wrong = {"Authorization": "Bearer wrong"}
    right = {"Authorization": "Bearer right"}

    asked = {
        (method, path): requests.request(method, address.url + path, headers=wrong, json=job(), timeout=10).status_code
        for method, path in [("POST", "/run"), ("POST", "/runsync"), ("GET", "/status/a"), ("POST", "/cancel/a")]
    }

    assert set(asked.values()) == {401}
    assert address.post("/v2/any/run", job()).status_code == 401
    assert address.get("/ping").status_code in (200, 204)
    assert address.get("/health").status_code == 200
    assert address.post("/runsync", job(), headers=right).json()["status"] == "COMPLETED"
    assert "right" not in address.container.output


def test_ping_and_health_tell_a_start_from_a_ready_worker(door: Door):
    address = door(COMFYUI_ARGS="--start-delay 1")

    starting, health = address.get("/ping"), address.get("/health").json()
    address.post("/runsync", job())
    ready = address.get("/ping")

    assert (starting.status_code, ready.status_code) == (204, 200)
    assert health["status"]["comfyui"]["state"] == "starting"


def test_every_route_is_there_for_runpods_own_client_too(door: Door):
    address = door()

    answer = address.post("/v2/endpoint/runsync", job()).json()

    assert answer["status"] == "COMPLETED"
    assert address.get(f"/v2/endpoint/status/{answer['id']}").json()["status"] == "COMPLETED"
    assert address.get("/v2/endpoint/health").json()["jobs"]["completed"] == 1


def test_an_input_image_and_a_json_string_work_over_http(door: Door):
    images = [
        {"name": "a.png", "image": base64.b64encode((ROOT / "examples/quickstart/input.png").read_bytes()).decode()}
    ]
    text = json.dumps({"workflow": workflows.inverted("a.png"), "images": images})

    answer = door().post("/runsync", {"input": text}).json()

    assert picture(answer["output"]["images"][0]).size == (96, 96)
