"""The API of clients, webhooks and the program, with a worker by hand where one is needed."""

import contextlib
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from aiohttp import web

from emulators.runpod import RunPodEmulator
from emulators.server import LoopbackServer

MIB = 1024 * 1024


class Side:
    """A client or a worker that holds one connection, as the SDK does."""

    def __init__(self, platform: RunPodEmulator, session: requests.Session) -> None:
        self.base = f"{platform.base_url}/{platform.endpoint_id}"
        self.session = session

    def get(self, path: str) -> requests.Response:
        return self.session.get(f"{self.base}/{path}", timeout=20)

    def post(self, path: str, body: Any = None) -> requests.Response:
        return self.session.post(f"{self.base}/{path}", json=body, timeout=20)

    def take(self) -> str:
        return str(self.get("job-take/w?gpu=CPU&job_in_progress=0").json()["id"])

    def done(self, job_id: str, body: Any) -> int:
        return self.post(f"job-done/w/{job_id}?gpu=CPU&isStream=false", body).status_code


@contextlib.contextmanager
def side(platform: RunPodEmulator, key: str = "Bearer rp_test") -> Iterator[Side]:
    with requests.Session() as session:
        session.headers["Authorization"] = key
        yield Side(platform, session)


@pytest.fixture
def platform() -> Iterator[RunPodEmulator]:
    with RunPodEmulator(poll_seconds=0.1) as platform:
        yield platform


@pytest.fixture
def worker(platform: RunPodEmulator) -> Iterator[Side]:
    with side(platform, "rp_test") as worker:
        yield worker


@pytest.fixture
def client(platform: RunPodEmulator) -> Iterator[Side]:
    with side(platform) as client:
        yield client


def test_a_result_reaches_the_client_by_get_and_by_post(platform, worker, client):
    job_id = client.post("run", {"input": {"n": 1}}).json()["id"]
    worker.done(worker.take(), {"output": {"n": 2}})

    by_get, by_post = client.get(f"status/{job_id}").json(), client.post(f"status/{job_id}").json()

    assert by_get == by_post
    assert by_get["status"] == "COMPLETED"
    assert by_get["output"] == {"n": 2}
    assert by_get["workerId"] == "w"
    assert {"delayTime", "executionTime"} <= by_get.keys()


def test_runsync_answers_with_the_result(platform, worker, client):
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(client.post, "runsync", {"input": {"n": 1}})
        platform.wait_until(lambda: platform.jobs)
        job_id = worker.take()
        worker.done(job_id, {"output": 7})

        answer = waiting.result(timeout=5).json()

    assert job_id.startswith("sync-")
    assert (answer["id"], answer["status"], answer["output"]) == (job_id, "COMPLETED", 7)


def test_runsync_gives_the_job_back_unfinished_when_its_wait_is_over(client):
    answer = client.post("runsync?wait=1000", {"input": {"n": 1}})

    assert answer.status_code == 200
    assert answer.json()["status"] == "IN_QUEUE"


def test_every_chunk_is_streamed_once(platform, worker, client):
    job_id = platform.submit({"n": 1})
    worker.take()
    worker.post(f"job-stream/w/{job_id}?gpu=CPU&isStream=false", {"output": "a"})
    worker.post(f"job-stream/w/{job_id}?gpu=CPU&isStream=false", {"output": "b"})

    first, second = client.get(f"stream/{job_id}").json(), client.get(f"stream/{job_id}").json()

    assert first == {"status": "IN_PROGRESS", "stream": [{"output": "a"}, {"output": "b"}]}
    assert second == {"status": "IN_PROGRESS", "stream": []}


def test_a_cancel_that_comes_after_the_result_changes_nothing(platform, worker, client):
    job_id = platform.submit({"n": 1})
    worker.done(worker.take(), {"output": 1})

    answer = client.post(f"cancel/{job_id}").json()

    assert answer["status"] == "COMPLETED"


def test_the_result_of_runsync_has_a_time_of_its_own():
    with RunPodEmulator(runsync_results_seconds=0.05) as platform, side(platform) as both:
        job_id = both.post("runsync?wait=1000", {"input": {"n": 1}}).json()["id"]
        both.done(both.take(), {"output": 1})

        platform.wait_until(lambda: platform.jobs[job_id].gone, timeout=5)

        assert both.get(f"status/{job_id}").status_code == 404


def test_a_result_is_forgotten_after_its_time():
    with RunPodEmulator(run_results_seconds=0.05) as platform, side(platform) as both:
        job_id = platform.submit({"n": 1})
        both.done(both.take(), {"output": 1})
        platform.wait_until(lambda: platform.jobs[job_id].gone, timeout=5)

        assert both.get(f"status/{job_id}").status_code == 404


def test_a_failed_job_can_be_retried_and_a_completed_one_not(platform, worker, client):
    job_id = platform.submit({"n": 1})
    worker.done(worker.take(), {"error": "broken"})

    retried = client.post(f"retry/{job_id}").json()
    worker.done(worker.take(), {"output": 1})

    assert retried == {"id": job_id, "status": "IN_QUEUE"}
    assert platform.status(job_id)["status"] == "COMPLETED"
    assert client.post(f"retry/{job_id}").status_code == 400
    assert client.get("health").json()["jobs"]["retried"] == 1


def test_purging_leaves_running_jobs_alone(platform, worker, client):
    running, waiting = platform.submit({"n": 1}), platform.submit({"n": 2})
    worker.take()

    answer = client.post("purge-queue").json()

    assert answer == {"removed": 1, "status": "completed"}
    assert platform.status(waiting)["status"] == "CANCELLED"
    assert platform.status(running)["status"] == "IN_PROGRESS"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "run"),
        ("POST", "runsync"),
        ("GET", "status/x"),
        ("GET", "stream/x"),
        ("POST", "cancel/x"),
        ("POST", "retry/x"),
        ("POST", "purge-queue"),
        ("GET", "health"),
    ],
)
@pytest.mark.parametrize("key", ["", "Bearer wrong", "Basic rp_test"])
def test_clients_need_the_key(platform, method, path, key):
    with side(platform, key) as stranger:
        answer = stranger.session.request(method, f"{stranger.base}/{path}", json={"input": 1}, timeout=5)

    assert answer.status_code == 401
    assert platform.jobs == {}


def test_the_bare_key_is_a_key_too(platform):
    with side(platform, "rp_test") as client:
        assert client.get("health").status_code == 200


@pytest.mark.parametrize("path", ["status/nothing", "stream/nothing"])
def test_a_job_that_never_was_is_not_found(client, path):
    assert client.get(path).status_code == 404


def test_another_endpoint_is_not_found(platform, client):
    client.base = f"{platform.base_url}/other"

    assert client.get("health").status_code == 404
    assert client.get("job-take/w").status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"input": None},
        {"input": 1, "policy": "fast"},
        {"input": 1, "policy": {"executionTimeout": "9000"}},
        {"input": 1, "policy": {"executionTimeout": 4999}},
        {"input": 1, "policy": {"ttl": 9999}},
        {"input": 1, "policy": {"ttl": 8 * 24 * 3600 * 1000}},
    ],
)
def test_a_malformed_request_is_refused(platform, client, body):
    answer = client.post("run", body)

    assert answer.status_code == 400
    assert platform.jobs == {}


def test_run_takes_ten_megabytes_and_runsync_twenty(client):
    eleven, twenty_one = {"input": "x" * 11 * MIB}, {"input": "x" * 21 * MIB}

    run, runsync = client.post("run", eleven), client.post("runsync", twenty_one)

    assert (run.status_code, run.json()["error"]) == (400, "exceeded max body size of 10MiB")
    assert (runsync.status_code, runsync.json()["error"]) == (400, "exceeded max body size of 20MiB")
    assert client.post("runsync?wait=1000", eleven).status_code == 200


class Receiver(LoopbackServer):
    """A webhook that answers with these codes, one after the other, and keeps what it got."""

    def __init__(self, *codes: int) -> None:
        self.codes = list(codes)
        self.received: list[Any] = []
        app = web.Application()
        app.router.add_post("/hook", self.receive)
        super().__init__(app)

    async def receive(self, request: web.Request) -> web.Response:
        self.received.append(await request.json())
        return web.Response(status=self.codes[len(self.received) - 1])


@pytest.mark.parametrize(
    ("codes", "expected"),
    [((200,), [200]), ((500, 200), [500, 200]), ((500, 404, 500), [500, 404, 500])],
)
def test_a_finished_job_is_posted_to_its_webhook_at_most_three_times(codes, expected):
    with (
        Receiver(*codes) as receiver,
        RunPodEmulator(webhook_retry_seconds=0.01) as platform,
        side(platform) as worker,
    ):
        job_id = platform.submit({"n": 1}, webhook=f"{receiver.url}/hook")
        worker.done(worker.take(), {"output": 1})
        platform.wait_until(lambda: len(platform.webhook_posts) == len(codes), timeout=5)

        assert [post.status for post in platform.webhook_posts] == expected
        assert receiver.received[0] == platform.status(job_id)


def test_a_late_report_does_not_call_the_webhook_again_but_a_retry_does():
    with Receiver(200, 200) as receiver, RunPodEmulator() as platform, side(platform) as both:
        job_id = platform.submit({"n": 1}, webhook=f"{receiver.url}/hook")
        both.done(both.take(), {"error": "broken"})
        both.done(job_id, {"status": "IN_PROGRESS", "output": "half"})
        platform.wait_until(lambda: receiver.received, timeout=5)
        both.post(f"retry/{job_id}")
        both.done(both.take(), {"output": 1})

        platform.wait_until(lambda: len(receiver.received) == 2, timeout=5)

        assert [body["status"] for body in receiver.received] == ["FAILED", "COMPLETED"]


def test_a_timed_out_job_is_posted_to_its_webhook():
    with Receiver(200) as receiver, RunPodEmulator() as platform, side(platform) as worker:
        platform.submit({"n": 1}, webhook=f"{receiver.url}/hook", policy={"executionTimeout": 50})
        worker.take()

        platform.wait_until(lambda: platform.webhook_posts, timeout=5)

        assert receiver.received[0]["status"] == "TIMED_OUT"


def test_a_wait_that_is_in_vain_says_how_far_the_job_is(platform):
    job_id = platform.submit({"n": 1})

    with pytest.raises(TimeoutError, match="IN_QUEUE"):
        platform.wait(job_id, timeout=0.05)


@contextlib.contextmanager
def program(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "emulators.runpod", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_the_program_prints_an_environment_that_a_shell_can_read():
    with program("--endpoint", "mine", "--api-key", "k", "--print-env") as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[-1]
        lines = [process.stdout.readline() for _ in range(11)]
        answer = requests.get(f"{address}/health", headers={"Authorization": "Bearer k"}, timeout=5)
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=10)

    environment = dict(shlex.split(line)[0].split("=", 1) for line in lines)
    assert answer.status_code == 200
    assert environment["RUNPOD_WEBHOOK_GET_JOB"] == f"{address}/job-take/$ID?gpu=CPU"
    assert environment["RUNPOD_ENDPOINT_ID"] == "mine"
    assert "'" in lines[0]
    assert code == 0
