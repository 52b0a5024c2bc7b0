"""The life of a job on Modal, over the HTTP face: one GPU container at most, so that jobs wait for each other."""

import base64
import io
import json
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
import requests
from PIL import Image
from standardwebhooks import Webhook

from emulators.modal import ModalEmulator
from tests import workflows
from tests.conftest import picture
from tests.serve.conftest import job, slow_job
from tests.serve.modal_platform import Face, client, deployment, place_checkpoint, printed
from tests.serve.test_webhooks import PATIENCE, SECRET, Receiver

pytestmark = pytest.mark.timeout(200)
# ComfyUI remembers what it made: every `slow_job` here has another number of steps.
FAILING = {"input": {"workflow": {"1": workflows.node("NoSuchNode")}}}
EVENTS = {"Accept": "text/event-stream"}


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModalEmulator]:
    env = {
        "ALLOW_PRIVATE_URLS": "true",
        "COMFYUI_ARGS": "--step-seconds 0.1 --preview-method auto",
        "WEBHOOK_SECRET": SECRET,
    }
    with deployment(place_checkpoint(tmp_path_factory.mktemp("modal")), env=env, most_containers=1) as running:
        yield running


@pytest.fixture(scope="module")
def face(platform: ModalEmulator) -> Face:
    return Face(platform)


@pytest.fixture
def busy(face: Face) -> Iterator[str]:
    """A job that keeps the GPU container at work until the test has ended."""
    job_id = face.run(slow_job(3000))
    face.until(job_id, "IN_PROGRESS")
    yield job_id
    face.post(f"/cancel/{job_id}")


def events(face: Face, job_id: str, after: str = "") -> Iterator[dict[str, Any]]:
    """The events of a job as `EventSource` gives them: `id`, `event`, and `data` read as JSON."""
    headers = face.headers | EVENTS | ({"Last-Event-ID": after} if after else {})
    with requests.get(f"{face.url}/stream/{job_id}", headers=headers, stream=True, timeout=60) as answer:
        fields: dict[str, Any] = {}
        for line in answer.iter_lines(chunk_size=1):
            name, _, value = line.decode().partition(": ")
            if name in ("id", "event"):
                fields[name] = value
            elif name == "data":
                fields["data"] = json.loads(value)
            elif not name and fields:
                yield fields
                fields = {}


def numbers(told: list[dict[str, Any]]) -> list[int]:
    return [int(event["id"]) for event in told]


def test_a_job_waits_until_a_container_has_it_and_then_shows_how_far_it_is(face: Face, busy: str):
    waiting = face.run(slow_job(20))

    before = face.status(waiting)
    face.post(f"/cancel/{busy}")
    running = face.until(waiting, "IN_PROGRESS")
    while "output" not in running:
        running = face.status(waiting)
    done = face.ended(waiting)

    assert before == {"id": waiting, "status": "IN_QUEUE"}
    assert running["output"]["type"] == "progress"
    assert running["workerId"] == done["workerId"] in {each["task_id"] for each in face.platform.containers}
    assert done["status"] == "COMPLETED"
    assert done["delayTime"] > 0
    assert done["executionTime"] >= 2000
    assert done["expiresAt"]


def test_several_readers_follow_a_job_from_the_queue_to_its_result(face: Face):
    job_id = face.run(slow_job(5))

    with ThreadPoolExecutor(3) as pool:
        readers = list(pool.map(lambda _: list(events(face, job_id)), range(3)))
    later = list(events(face, job_id))

    assert readers[0] == readers[1] == readers[2] == later
    assert numbers(later) == list(range(1, len(later) + 1))
    assert [event["data"]["status"] for event in later[:2]] == ["IN_QUEUE", "IN_PROGRESS"]
    assert [event["data"]["step"] for event in later if event["data"].get("steps")] == [1, 2, 3, 4, 5]
    assert later[-1]["event"] == "result"
    assert later[-1]["data"]["output"]["images"]


def test_a_reader_that_leaves_and_comes_back_misses_nothing_and_gets_nothing_twice(face: Face):
    job_id = face.run(slow_job(21))
    first: list[dict[str, Any]] = []

    with closing(events(face, job_id)) as reading:
        while not first or first[-1]["data"].get("step", 0) < 3:
            first.append(next(reading))
    rest = list(events(face, job_id, after=first[-1]["id"]))
    again = face.get(f"/stream/{job_id}", EVENTS | {"Last-Event-ID": rest[-1]["id"]})

    assert numbers(first + rest) == list(range(1, len(first + rest) + 1))
    assert rest[-1]["event"] == "result"
    assert again.status_code == 204


def test_previews_come_to_a_job_that_asked_for_them(face: Face):
    job_id = face.run(slow_job(7, previews=True))

    told = list(events(face, job_id))

    assert next(event["data"]["media_type"] for event in told if event["event"] == "preview") == "image/jpeg"


def test_runpods_stream_gives_every_event_once(face: Face):
    job_id = face.run(slow_job(6))
    told: list[dict[str, Any]] = []

    while not told or told[-1]["type"] != "result":
        answer = face.get(f"/stream/{job_id}").json()
        told += [piece["output"] for piece in answer["stream"]]

    assert [event["type"] for event in told[:2]] == ["status", "status"]
    assert [event["step"] for event in told if event.get("steps")] == [1, 2, 3, 4, 5, 6]
    assert face.get(f"/stream/{job_id}").json() == {"status": "COMPLETED", "stream": []}


def test_the_generator_of_the_class_yields_what_a_job_tells_and_then_its_answer(face: Face):
    body = json.dumps(slow_job(3))
    code = f"""import json, modal
told = list(modal.Cls.from_name("comfyport", "ComfyUI")().stream.remote_gen(json.loads('''{body}''')))
print(json.dumps(told))"""

    told = json.loads(printed(client(face.platform, "-c", code)))
    call = re.findall(r"job=(fc-\d+)", face.platform.logs)[-1]

    assert face.get(f"/status/{call}").status_code == 404
    assert [event["step"] for event in told if event.get("steps")] == [1, 2, 3]
    assert told[-1]["type"] == "result"
    assert told[-1]["output"]["images"]


def test_comfyport_run_is_told_how_far_a_job_is(face: Face):
    body = json.dumps(slow_job(24))
    code = f"""import json
from comfyport.cli.modal_endpoint import ModalEndpoint
endpoint = ModalEndpoint("comfyport")
state = endpoint.submit(json.loads('''{body}'''))
told = [state.status]
while not state.ended:
    state = endpoint.state(state.id)
    told.append((state.output or {{}}).get("class_type"))
print(json.dumps([*told, state.status, len(state.output["images"])]))"""

    told = json.loads(printed(client(face.platform, "-c", code)))

    assert (told[0], *told[-2:]) == ("IN_QUEUE", "COMPLETED", 1)
    assert "KSampler" in told


def test_a_running_and_a_waiting_job_are_cancelled_and_stay_so(face: Face, busy: str):
    waiting = face.run(job())

    answers = [face.post(f"/cancel/{job_id}").json() for job_id in (waiting, busy)]
    after = face.ended(face.run(job()))

    assert [answer["status"] for answer in answers] == ["CANCELLED", "CANCELLED"]
    assert [face.status(job_id)["status"] for job_id in (waiting, busy)] == ["CANCELLED", "CANCELLED"]
    assert [event["event"] for event in events(face, waiting)] == ["status", "result"]
    assert after["status"] == "COMPLETED"


def test_the_same_key_and_body_give_the_same_job_and_another_body_is_refused(face: Face):
    def send(_: int) -> str:
        return face.run(job(11), **{"Idempotency-Key": "order-1"})

    with ThreadPoolExecutor(4) as pool:
        at_once = set(pool.map(send, range(4)))
    face.ended(send(0))
    later = send(0)
    other = face.post("/run", job(12), {"Idempotency-Key": "order-1"})

    assert at_once == {later}
    assert (other.status_code, other.json()["error_code"]) == (422, "idempotency_key_reused")


def test_a_key_is_free_again_when_its_result_is_gone(face: Face):
    first = face.run(job(13), **{"Idempotency-Key": "order-2"})
    face.ended(first)

    face.platform.expire(first)
    second = face.run(job(13), **{"Idempotency-Key": "order-2"})

    assert face.get(f"/status/{first}").status_code == 404
    assert second != first
    assert face.ended(second)["status"] == "COMPLETED"


def test_a_job_ends_when_its_execution_timeout_is_over(face: Face):
    job_id = face.run(slow_job(3000) | {"policy": {"executionTimeout": 1000}})

    ended = face.ended(job_id)

    assert (ended["status"], ended["output"]["error_code"]) == ("TIMED_OUT", "policy_exceeded")
    assert ended["output"]["details"]["policy"] == "executionTimeout"


def test_a_job_that_waits_longer_than_its_time_to_live_is_timed_out_meanwhile_and_later(face: Face, busy: str):
    job_id = face.run(job() | {"policy": {"ttl": 500}})

    waiting = face.ended(job_id)
    face.post(f"/cancel/{busy}")
    face.ended(face.run(job()))

    assert (waiting["status"], waiting["output"]["details"]["policy"]) == ("TIMED_OUT", "ttl")
    assert "executionTime" not in waiting
    assert face.status(job_id)["output"] == waiting["output"]


def test_a_failed_job_is_run_again_under_its_id_and_its_events_go_on(face: Face):
    job_id = face.run(FAILING)
    first = face.ended(job_id)
    told = list(events(face, job_id))

    retried = face.post(f"/retry/{job_id}").json()
    second = face.ended(job_id)
    more = list(events(face, job_id, after=told[-1]["id"]))

    assert (first["status"], second["status"]) == ("FAILED", "FAILED")
    assert (retried["id"], second["retries"]) == (job_id, 1)
    assert [event["event"] for event in more] == ["status", "status", "result"]
    assert min(numbers(more)) > max(numbers(told))


def test_what_went_well_or_was_not_kept_is_not_run_again(face: Face):
    done = face.run(job())
    face.ended(done)
    large = {"input": {**FAILING["input"], "images": [{"name": "a.png", "image": "A" * (5 << 20)}]}}
    failed = face.run(large)
    face.ended(failed)

    refused = face.post(f"/retry/{done}")
    not_kept = face.post(f"/retry/{failed}")

    assert (refused.status_code, refused.json()["error_code"]) == (409, "not_retryable")
    assert (not_kept.status_code, not_kept.json()["error_code"]) == (501, "not_offered")


def test_emptying_the_queue_cancels_what_waits_and_nothing_else(face: Face, busy: str):
    waiting = [face.run(job(colour)) for colour in range(3)]

    health = face.get("/health").json()
    purged = face.post("/purge-queue").json()

    assert health["jobs"] == {"inQueue": 3, "inProgress": 1}
    assert purged == {"removed": 3, "status": "completed"}
    assert {face.status(job_id)["status"] for job_id in waiting} == {"CANCELLED"}
    assert face.status(busy)["status"] == "IN_PROGRESS"
    assert face.post("/purge-queue").json()["removed"] == 0


@pytest.mark.parametrize("body", [job(), FAILING], ids=["done", "failed"])
def test_the_end_of_a_job_is_told_to_its_webhook(face: Face, body: dict[str, Any]):
    with Receiver(500) as receiver:
        job_id = face.run(body | {"webhook": f"{receiver.url}/hook?token=secret"})
        assert receiver.arrived.acquire(timeout=60)
        assert receiver.arrived.acquire(timeout=60)

    headers, content = receiver.got[1]
    told = Webhook(SECRET).verify(content, headers)
    assert told == face.ended(job_id)
    assert "token=secret" not in face.platform.logs


def test_a_cancelled_job_is_told_to_its_webhook(face: Face, busy: str):
    with Receiver() as receiver:
        job_id = face.run(job() | {"webhook": f"{receiver.url}/hook"})
        face.post(f"/cancel/{job_id}")
        assert receiver.arrived.acquire(timeout=PATIENCE * 6)

    assert json.loads(receiver.got[0][1])["status"] == "CANCELLED"


def test_pictures_of_many_megabytes_come_in_and_go_out(face: Face):
    noise = Image.frombytes("RGB", (2400, 1500), os.urandom(2400 * 1500 * 3))
    buffer = io.BytesIO()
    noise.save(buffer, "PNG")
    sent = base64.b64encode(buffer.getvalue()).decode()
    workflow = {
        "1": workflows.node("LoadImage", image="big.png"),
        "2": workflows.node("SaveImage", images=["1", 0], filename_prefix="big"),
    }
    body = {"input": {"workflow": workflow, "images": [{"name": "big.png", "image": sent}]}}

    answer = face.post("/runsync", body).json()

    [item] = answer["output"]["images"]
    assert len(sent) > 13_000_000
    assert len(item["data"]) > 13_000_000
    assert picture(item).tobytes() == noise.tobytes()


def test_a_body_larger_than_allowed_is_refused(face: Face):
    answer = face.post("/run", {"input": "A" * (65 << 20)})

    assert (answer.status_code, answer.json()["error_code"]) == (413, "body_too_large")


def test_a_job_whose_container_is_taken_away_is_done_by_the_next_one_and_its_events_go_on(face: Face):
    job_id = face.run(slow_job(22))
    told: list[dict[str, Any]] = []
    with closing(events(face, job_id)) as reading:
        while not told or told[-1]["data"].get("step", 0) < 2:
            told.append(next(reading))
    first = face.status(job_id)

    face.platform.preempt(first["workerId"])
    rest = list(events(face, job_id, after=told[-1]["id"]))
    done = face.ended(job_id)

    assert done["status"] == "COMPLETED"
    assert done["workerId"] != first["workerId"]
    assert "IN_PROGRESS" in [event["data"]["status"] for event in rest if event["event"] == "status"]
    assert rest[-1]["event"] == "result"
    assert min(numbers(rest)) > max(numbers(told))


def test_health_and_metrics_count_what_modal_counts(face: Face, busy: str):
    waiting = face.run(job())
    health = face.get("/health").json()
    while health["jobs"] != {"inQueue": 1, "inProgress": 1}:
        health = face.get("/health").json()
    metrics = face.get("/metrics").text
    face.post(f"/cancel/{waiting}")

    assert (health["workers"]["ready"], health["workers"]["running"], health["workers"]["idle"]) == (1, 1, 0)
    assert "comfyport_queue_waiting_jobs 1.0" in metrics
    assert "comfyport_queue_running_jobs 1.0" in metrics
    assert "comfyport_queue_containers 1.0" in metrics
    assert "comfyport_jobs" not in metrics
