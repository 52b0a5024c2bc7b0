"""Requests that are odd, too large, from a page or for Prometheus: each has an answer, none breaks the door."""

import asyncio
import json
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from comfyport.serve.answers import LARGE_BYTES, encode, encoded
from tests import workflows
from tests.serve.conftest import Address, Door, job, open_door

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"\xff\xfe",
        b"null",
        b"[]",
        b'"text"',
        b"{}",
        b'{"input": null}',
        b"[" * 100_000,
        b'{"input": ' + b'{"a":' * 50_000,
        b'{"input": ' + b"9" * 5000 + b"}",
        b'{"input": {}, "policy": 7}',
        b'{"input": {}, "policy": {"ttl": -1}}',
        b'{"input": {}, "policy": {"executionTimeout": "soon"}}',
        b'{"input": {}, "policy": {"ttl": NaN}}',
        b'{"input": {}, "policy": {"ttl": true}}',
        b'{"input": {}, "webhook": {}}',
    ],
    ids=lambda body: body[:40].decode(errors="replace"),
)
def test_a_body_that_is_no_job_is_refused_in_words(shared_door: Address, body: bytes):
    answer = requests.post(f"{shared_door.url}/run", data=body, headers=JSON, timeout=30)

    assert (answer.status_code, answer.json()["error_code"]) == (400, "invalid_job")


@pytest.mark.parametrize(
    "job_input",
    ['"text"', "7", "true", "[]", '"\\ud800"', '{"workflow": {"\\ud800": {}}}', '{"workflow": {"1": {"inputs": NaN}}}'],
)
def test_an_odd_input_is_a_failed_job_and_nothing_worse(shared_door: Address, job_input: str):
    answer = requests.post(f"{shared_door.url}/runsync", data=f'{{"input": {job_input}}}', headers=JSON, timeout=30)

    assert answer.status_code == 200
    assert answer.json()["status"] == "FAILED"
    assert answer.json()["output"]["error_code"] != "error"


def test_a_body_of_another_type_is_refused_since_any_page_could_send_it(shared_door: Address):
    body = json.dumps(job())

    answer = requests.post(f"{shared_door.url}/run", data=body, headers={"Content-Type": "text/plain"}, timeout=30)

    assert answer.status_code == 400
    assert "Content-Type: application/json" in answer.json()["error"]


@pytest.mark.parametrize("chunked", [False, True], ids=["announced", "chunked"])
def test_a_body_that_is_too_large_is_refused_with_its_limit(door: Door, chunked: bool):
    address = door(BODY_BYTES="1000000")
    body = json.dumps({"input": {"workflow": {}, "filling": "x" * 1_000_000}}).encode()
    data: Any = iter([body[:500_000], body[500_000:]]) if chunked else body

    answer = requests.post(f"{address.url}/run", data=data, headers=JSON, timeout=30)

    assert (answer.status_code, answer.json()["error_code"]) == (413, "body_too_large")
    assert answer.json()["details"] == {"limit": 1_000_000}


def test_the_key_is_asked_for_before_the_body_is_read(door: Door):
    address = door(COMFYPORT_API_KEY="right")
    host, port = address.url.removeprefix("http://").split(":")

    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(
            b"POST /run HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n"
        )
        first_line = connection.recv(100).splitlines()[0]

    assert first_line == b"HTTP/1.1 401 Unauthorized"


def test_a_client_that_hangs_up_in_the_middle_of_its_body_is_no_error_of_ours(door: Door):
    address = door()
    host, port = address.url.removeprefix("http://").split(":")

    with socket.create_connection((host, int(port)), timeout=10) as connection:
        head = b"POST /run HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n"
        connection.sendall(head + b'{"input"')
    address.post("/runsync", job())
    address.container.end(signal.SIGTERM)

    assert "Traceback" not in address.container.output


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/run"),
        ("POST", "/runsync"),
        ("GET", "/status/a"),
        ("GET", "/stream/a"),
        ("POST", "/cancel/a"),
        ("POST", "/retry/a"),
        ("POST", "/purge-queue"),
        ("GET", "/metrics"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "/v2/any"])
def test_every_route_but_ping_and_health_asks_for_the_key(keyed_door: Address, prefix: str, method: str, path: str):
    refused = requests.request(method, keyed_door.url + prefix + path, timeout=30)
    bare = requests.request(method, keyed_door.url + prefix + path, headers={"Authorization": "right"}, timeout=30)

    assert (refused.status_code, refused.json()["error_code"]) == (401, "unauthorized")
    assert refused.headers["WWW-Authenticate"] == "Bearer"
    assert bare.status_code != 401


@pytest.fixture(scope="module")
def keyed_door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    with ExitStack() as stack:
        environ = {"COMFYPORT_API_KEY": "right", "CORS_ORIGINS": "https://page.example"}
        yield open_door(stack, tmp_path_factory.mktemp("keyed"), environ)


def test_a_page_may_call_only_if_its_origin_was_named(keyed_door: Address, shared_door: Address):
    asking = {"Origin": "https://page.example", "Access-Control-Request-Method": "POST"}

    named = requests.options(f"{keyed_door.url}/run", headers=asking, timeout=30)
    other = requests.options(f"{keyed_door.url}/run", headers=asking | {"Origin": "https://other.example"}, timeout=30)
    closed = requests.options(f"{shared_door.url}/run", headers=asking, timeout=30)

    assert named.headers["Access-Control-Allow-Origin"] == "https://page.example"
    assert "Access-Control-Allow-Origin" not in other.headers
    assert (closed.status_code, closed.headers["Allow"]) == (405, "POST")
    assert "Access-Control-Allow-Origin" not in closed.headers


def test_what_is_not_there_is_said_with_a_code(shared_door: Address):
    absent = shared_door.get("/nothing")
    wrong = requests.delete(f"{shared_door.url}/run", timeout=30)
    before = shared_door.get("/health").json()["jobs"]
    parameter = shared_door.post("/runsync?wait=soon", job())
    after = shared_door.get("/health").json()["jobs"]

    assert (absent.status_code, absent.json()["error_code"]) == (404, "route_unknown")
    assert (wrong.status_code, wrong.json()["error_code"]) == (405, "method_not_allowed")
    assert requests.options(f"{shared_door.url}/v2/a/status/b", timeout=30).headers["Allow"] == "GET, POST"
    assert (parameter.status_code, parameter.json()["error_code"]) == (400, "invalid_job")
    assert before == after, "what is refused is not done"
    assert requests.head(f"{shared_door.url}/ping", timeout=30).status_code in (200, 204)
    assert requests.head(f"{shared_door.url}/health", timeout=30).status_code == 200


def test_the_same_idempotency_key_gives_the_same_job(shared_door: Address):
    key = {"Idempotency-Key": "once"}

    first = shared_door.post("/run", job(), headers=key).json()
    again = shared_door.post("/runsync", job(), headers=key).json()
    other = shared_door.post("/run", job(8), headers=key)

    assert first["id"] == again["id"]
    assert again["status"] == "COMPLETED"
    assert (other.status_code, other.json()["error_code"]) == (422, "idempotency_key_reused")


def test_a_result_that_made_room_is_gone_and_that_is_said(door: Door):
    address = door(QUEUE_BYTES="9000")

    first = address.post("/runsync", {"input": {"workflow": workflows.scaled(1)}}).json()
    for colour in range(2, 8):
        address.post("/runsync", {"input": {"workflow": workflows.scaled(colour)}})
    later = address.get(f"/status/{first['id']}")

    assert first["status"] == "COMPLETED"
    assert (later.status_code, later.json()["error_code"]) == (410, "result_dropped")
    assert later.json()["details"]["status"] == "COMPLETED"


def test_prometheus_can_read_the_metrics_and_finds_the_jobs_in_them(door: Door):
    address = door()
    address.post("/runsync", job())
    address.post("/runsync", {"input": {"workflow": {"1": workflows.node("NoSuchNode")}}})

    families = {family.name: family for family in text_string_to_metric_families(address.get("/metrics").text)}
    jobs = {
        (sample.labels["outcome"], sample.labels["error_code"]): sample.value
        for sample in families["comfyport_jobs"].samples
        if sample.name == "comfyport_jobs_total"
    }
    phases = {sample.labels.get("phase") for sample in families["comfyport_job_phase_seconds"].samples}
    states = {sample.labels["state"]: sample.value for sample in families["comfyport_comfyui_state"].samples}

    assert jobs == {("completed", ""): 1, ("failed", "workflow_rejected"): 1}
    assert {"wait_models", "inputs", "queue", "execute", "outputs"} <= phases
    assert states["ready"] == 1
    assert families["comfyport_queue_waiting_jobs"].samples[0].value == 0
    assert {"comfyport_model_bytes", "comfyport_model_files", "comfyport_comfyui_restarts"} <= set(families)


def test_the_documents_describe_the_job_and_every_answer(shared_door: Address):
    document = shared_door.get("/openapi.json").json()
    schemas = document["components"]["schemas"]

    assert {"JobRequest", "JobInput", "Policy", "JobState", "Failure"} <= set(schemas)
    assert schemas["JobInput"]["properties"]["workflow"]["examples"]
    assert {"200", "400", "401", "413", "422", "429", "503"} <= set(document["paths"]["/run"]["post"]["responses"])
    assert shared_door.get("/docs").status_code == 200


ODD = {"nan": float("nan"), "half a character": "\ud800", "list": [float("inf"), 1]}


def test_json_always_comes_out():
    assert json.loads(encode(ODD)) == {"nan": None, "half a character": "\ud800", "list": [None, 1]}


@pytest.mark.parametrize("odd", [{}, ODD])
async def test_a_large_answer_is_encoded_while_others_get_their_turn(odd: dict[str, Any]):
    content = odd | {"images": ["A" * LARGE_BYTES, "ä"]}
    encoding = asyncio.create_task(encoded(content))

    await asyncio.sleep(0)

    assert not encoding.done()
    assert await encoding == encode(content)
