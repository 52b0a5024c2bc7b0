"""The job API, spoken to by a worker without the SDK."""

import contextlib
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from emulators.runpod import RunPodEmulator


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


@pytest.mark.parametrize("path", ["job-take/w", "job-take-batch/w?batch_size=3", "job-stop/w"])
def test_a_poll_is_held_open_and_answered_204_when_nothing_came(worker, path):
    began = time.monotonic()

    answer = worker.get(path)

    assert answer.status_code == 204
    assert time.monotonic() - began >= 0.1


def test_a_waiting_job_take_gets_the_job_the_moment_it_is_submitted():
    with RunPodEmulator(poll_seconds=15) as platform, side(platform) as worker, ThreadPoolExecutor() as pool:
        waiting = pool.submit(worker.take)
        platform.wait_until(lambda: platform.requests)

        job_id = platform.submit({"n": 1})

        assert waiting.result(timeout=5) == job_id


def hang_up_on(platform: RunPodEmulator, path: str) -> None:
    """Asks for something and is gone before the answer; returns when the emulator has noticed."""
    with socket.create_connection((platform.host, platform.port)) as lost:
        lost.sendall(f"GET /v2/local/{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        platform.wait_until(lambda: any(request.path.endswith(path) for request in platform.requests))
    with side(platform) as client:
        assert client.get("health").json()["workers"]["idle"] == 0


def test_a_worker_that_hung_up_gets_no_job():
    with RunPodEmulator(poll_seconds=15) as platform, side(platform) as client:
        hang_up_on(platform, "job-take/lost")

        job_id = platform.submit({"n": 1})

        assert client.take() == job_id


def test_a_stop_is_kept_for_a_worker_that_hung_up():
    with RunPodEmulator(poll_seconds=15) as platform:
        hang_up_on(platform, "job-stop/w")
        with side(platform) as worker:
            job_id = platform.submit({"n": 1})
            worker.take()

            platform.cancel(job_id)

            assert worker.get("job-stop/w").json() == {"jobsToStop": [job_id]}


def test_a_result_from_a_worker_that_does_not_have_the_job_is_ignored(platform, worker):
    job_id = platform.submit({"n": 1})
    worker.take()

    worker.post(f"job-done/other/{job_id}?gpu=CPU&isStream=false", {"output": 1})

    assert platform.status(job_id)["status"] == "IN_PROGRESS"
    assert platform.jobs[job_id].late == [{"output": 1}]


def test_leaving_the_emulator_does_not_wait_for_open_polls():
    with contextlib.ExitStack() as stack, ThreadPoolExecutor() as pool:
        platform = stack.enter_context(RunPodEmulator(poll_seconds=15))
        worker = stack.enter_context(side(platform))
        waiting = pool.submit(worker.get, "job-take/w")
        platform.wait_until(lambda: platform.requests)

        began = time.monotonic()
        stack.close()

        assert time.monotonic() - began < 5
        assert waiting.result(timeout=5).status_code == 204


def test_a_batch_holds_as_many_jobs_as_asked_for(platform, worker):
    ids = [platform.submit({"n": number}) for number in range(3)]

    batch = worker.get("job-take-batch/w?batch_size=2").json()

    assert [job["id"] for job in batch] == ids[:2]
    assert [job["input"] for job in batch] == [{"n": 0}, {"n": 1}]


def test_a_worker_sees_the_s3_settings_and_the_webhook_but_not_the_policy(platform, worker, client):
    body = {"input": {"n": 1}, "s3Config": {"bucketName": "b"}, "policy": {"ttl": 10_000}, "other": 1}
    job_id = client.post("run", body).json()["id"]

    job = worker.get("job-take/w").json()

    assert job == {"id": job_id, "input": {"n": 1}, "s3Config": {"bucketName": "b"}}
    assert "s3Config" not in client.get(f"status/{job_id}").json()


def test_a_cancelled_job_reaches_the_stop_poll_once(platform, worker, client):
    job_id = platform.submit({"n": 1})
    worker.take()

    answer = client.post(f"cancel/{job_id}").json()

    assert answer == {"id": job_id, "status": "CANCELLED"}
    assert worker.get("job-stop/w").json() == {"jobsToStop": [job_id]}
    assert worker.get("job-stop/w").status_code == 204


def test_a_result_that_comes_after_the_cancel_is_recorded_and_ignored(platform, worker):
    job_id = platform.submit({"n": 1})
    worker.take()
    platform.cancel(job_id)

    code = worker.done(job_id, {"output": 1})

    assert code == 200
    assert platform.status(job_id)["status"] == "CANCELLED"
    assert platform.jobs[job_id].late == [{"output": 1}]


def test_progress_is_the_output_until_there_is_a_result(platform, worker, client):
    job_id = platform.submit({"n": 1})
    worker.take()

    worker.done(job_id, {"status": "IN_PROGRESS", "output": "half"})
    halfway = client.get(f"status/{job_id}").json()
    worker.done(job_id, {"output": "all"})

    assert (halfway["status"], halfway["output"]) == ("IN_PROGRESS", "half")
    assert platform.status(job_id)["output"] == "all"


def test_progress_that_comes_after_the_result_is_recorded_and_ignored(platform, worker):
    job_id = platform.submit({"n": 1})
    worker.done(worker.take(), {"output": "all"})

    worker.done(job_id, {"status": "IN_PROGRESS", "output": "half"})

    assert platform.status(job_id)["output"] == "all"
    assert platform.jobs[job_id].late == [{"status": "IN_PROGRESS", "output": "half"}]


def test_late_progress_makes_the_job_stick_when_asked_for(platform, worker):
    platform.faults.add("late_progress_sticks")
    job_id = platform.submit({"n": 1})
    worker.done(worker.take(), {"output": "all"})

    worker.done(job_id, {"status": "IN_PROGRESS", "output": "half"})

    status = platform.status(job_id)
    assert (status["status"], status["output"]) == ("IN_PROGRESS", "half")
    assert "executionTime" in status


@pytest.mark.parametrize(("fault", "code"), [("no_jobs_429", 429), ("flashboot_400", 400), ("take_500", 500)])
def test_a_fault_refuses_one_job_take_and_the_job_stays(platform, worker, fault, code):
    platform.faults.add(fault)
    job_id = platform.submit({"n": 1})

    refused = worker.get("job-take/w")

    assert refused.status_code == code
    assert worker.take() == job_id


def test_a_slow_take_holds_back_a_job_that_is_already_handed_out():
    with RunPodEmulator(faults=["slow_take"], slow_take_seconds=0.3) as platform, side(platform) as worker:
        job_id = platform.submit({"n": 1})
        began = time.monotonic()

        taken = worker.take()

        assert taken == job_id
        assert time.monotonic() - began >= 0.3


def test_a_refused_result_is_never_kept(platform, worker):
    platform.faults.add("refuse_result")
    job_id = platform.submit({"n": 1})
    worker.take()

    codes = [worker.done(job_id, {"output": 1}) for _ in range(3)]

    assert codes == [400] * 3
    assert platform.status(job_id)["status"] == "IN_PROGRESS"


def test_a_result_can_be_refused_once(platform, worker):
    platform.faults.add("refuse_result_once")
    job_id = platform.submit({"n": 1})
    worker.take()

    answers = [worker.done(job_id, {"output": number}) for number in (1, 2)]

    assert answers == [400, 200]
    assert platform.status(job_id)["output"] == 2


def test_refused_progress_is_not_kept(platform, worker):
    platform.faults.add("refuse_progress")
    job_id = platform.submit({"n": 1})
    worker.take()

    told = worker.done(job_id, {"status": "IN_PROGRESS", "output": "half"})
    streamed = worker.post(f"job-stream/w/{job_id}?gpu=CPU", {"output": "half"}).status_code

    assert (told, streamed) == (500, 500)
    assert (platform.jobs[job_id].reports, platform.jobs[job_id].chunks) == ([], [])


def test_slow_progress_is_overtaken_by_the_result():
    with (
        RunPodEmulator(faults=["slow_progress"], slow_progress_seconds=0.3) as platform,
        side(platform) as worker,
        side(platform) as another,
        ThreadPoolExecutor(1) as pool,
    ):
        job_id = platform.submit({"n": 1})
        worker.take()
        progress = pool.submit(worker.done, job_id, {"status": "IN_PROGRESS", "output": "half"})
        platform.wait_until(lambda: any("/job-done/" in request.path for request in platform.requests))

        another.done(job_id, {"output": "all"})

        assert progress.result() == 200
        assert platform.jobs[job_id].late == [{"status": "IN_PROGRESS", "output": "half"}]
        assert platform.status(job_id)["output"] == "all"


def test_a_job_over_its_execution_time_fails_and_is_stopped(platform, worker):
    job_id = platform.submit({"n": 1}, policy={"executionTimeout": 50})
    worker.take()

    status = platform.wait(job_id, timeout=5)

    assert (status["status"], status["error"]) == ("TIMED_OUT", "executionTimeout exceeded")
    assert worker.get("job-stop/w").json() == {"jobsToStop": [job_id]}


def test_a_job_over_its_life_is_unknown_to_everyone(platform, worker, client):
    job_id = platform.submit({"n": 1}, policy={"ttl": 50})
    worker.take()
    platform.wait_until(lambda: platform.jobs[job_id].gone, timeout=5)

    assert client.get(f"status/{job_id}").status_code == 404
    assert worker.done(job_id, {"output": 1}) == 404
    with pytest.raises(LookupError):
        platform.status(job_id)
