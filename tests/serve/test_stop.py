"""The end of a door: whoever waits is told what happened, and the log has nothing to be ashamed of."""

import concurrent.futures
import json
import signal
import socket

import requests

from tests.serve.conftest import Address, Door, job, slow_job


def followed(address: Address, job_id: str) -> dict[str, object]:
    """The last event of a job's stream."""
    headers = {"Accept": "text/event-stream"}
    with requests.get(f"{address.url}/stream/{job_id}", headers=headers, stream=True, timeout=30) as answer:
        lines = [line.decode() for line in answer.iter_lines() if line.startswith(b"data: ")]
    return dict(json.loads(lines[-1].removeprefix("data: ")))


def test_sigterm_answers_everybody_who_waits_and_ends_without_a_traceback(door: Door):
    address = door(COMFYUI_ARGS="--step-seconds 0.1", STOP_SECONDS="0.5")
    running = address.post("/run", slow_job(500)).json()["id"]
    with concurrent.futures.ThreadPoolExecutor() as clients:
        streamed = clients.submit(followed, address, running)
        waited = clients.submit(address.post, "/runsync", job())
        address.container.read_until("got prompt")
        while address.get("/health").json()["jobs"]["inQueue"] != 1:
            pass

        status = address.container.end(signal.SIGTERM)
        answers = [streamed.result(), waited.result().json()]

    assert status == 0
    assert [answer["status"] for answer in answers] == ["FAILED", "FAILED"]
    assert [answer["output"]["error_code"] for answer in answers] == ["worker_stopped"] * 2
    assert "while the job ran" in answers[0]["error"]
    assert "before the job had begun" in answers[1]["error"]
    assert "Traceback" not in address.container.output
    assert "was destroyed" not in address.container.output


def test_a_reader_that_does_not_read_does_not_hold_the_end_up(door: Door):
    address = door(COMFYUI_ARGS="--preview-method auto", STOP_SECONDS="0")
    host, port = address.url.removeprefix("http://").split(":")
    job_id = address.post("/run", slow_job(4000, previews=True)).json()["id"]
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((host, int(port)))
        connection.sendall(f"GET /stream/{job_id} HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n".encode())
        while address.get(f"/status/{job_id}").json().get("output", {}).get("step", 0) < 300:
            pass

        status = address.container.end(signal.SIGTERM)

    assert status == 0
    assert "Traceback" not in address.container.output


def test_a_job_that_ends_within_the_grace_is_answered_as_if_nothing_were(door: Door):
    address = door(COMFYUI_ARGS="--step-seconds 0.1", STOP_SECONDS="20")
    with concurrent.futures.ThreadPoolExecutor() as clients:
        waited = clients.submit(address.post, "/runsync", slow_job(10))
        address.container.read_until("got prompt")

        status = address.container.end(signal.SIGTERM)

    assert status == 0
    assert waited.result().json()["status"] == "COMPLETED"
