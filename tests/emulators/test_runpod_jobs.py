"""The life of a job and the endpoint's queue, without any server."""

import pytest

from emulators.runpod.endpoint import Endpoint
from emulators.runpod.faults import Faults
from emulators.runpod.jobs import Job, Policy, Status


class Wire:
    """A worker's connection."""

    closed = False

    def is_closing(self) -> bool:
        return self.closed


def queued(*ids: str, **fields: object) -> Endpoint:
    endpoint = Endpoint()
    for job_id in ids:
        endpoint.submit(Job(job_id, {"n": 1}, submitted=100.0, **fields))
    return endpoint


def test_a_job_shows_its_times_in_milliseconds_once_they_are_known():
    job = Job("a", {}, submitted=100.0)

    waiting = job.describe()
    job.take("w", 101.5)
    running = job.describe()
    job.finish({"output": [1]}, 104.0)

    assert waiting == {"id": "a", "status": "IN_QUEUE"}
    assert running == {"id": "a", "status": "IN_PROGRESS", "delayTime": 1500, "workerId": "w"}
    assert job.describe() == running | {"status": "COMPLETED", "executionTime": 2500, "output": [1]}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"output": 1}, Status.COMPLETED),
        ({}, Status.COMPLETED),
        ({"error": "", "output": 1}, Status.COMPLETED),
        ({"error": "broken"}, Status.FAILED),
        ({"error": {"code": 7}, "output": {"details": 1}}, Status.FAILED),
    ],
)
def test_a_result_fails_a_job_only_with_an_error_in_it(body, status):
    job = Job("a", {}, submitted=0.0)

    job.finish(body, 1.0)

    assert job.status is status


def test_a_policy_is_given_in_milliseconds_and_keeps_what_it_does_not_name():
    policy = Policy(execution_timeout=600, ttl=3600)

    changed = policy.changed_by({"executionTimeout": 7000, "lowPriority": True})

    assert changed == Policy(execution_timeout=7, ttl=3600, low_priority=True)


def test_a_running_job_times_out_after_its_execution_time_and_its_worker_must_stop_it():
    endpoint = queued("a", policy=Policy(execution_timeout=10))
    [job] = endpoint.take("w", 1, 105.0)

    due = job.next_deadline()
    endpoint.pass_deadline(job, due)

    assert due == 115.0
    assert job.describe()["status"] == "TIMED_OUT"
    assert endpoint.stops_for("w") == ["a"]


def test_a_job_is_forgotten_when_its_life_is_over_even_if_it_runs():
    endpoint = queued("a", policy=Policy(execution_timeout=600, ttl=20))
    [job] = endpoint.take("w", 1, 105.0)

    due = job.next_deadline()
    endpoint.pass_deadline(job, due)

    assert due == 120.0
    assert endpoint.find("a") is None
    assert endpoint.stops_for("w") == ["a"]
    assert endpoint.health()["jobs"]["inProgress"] == 0


def test_a_result_is_forgotten_when_it_was_kept_long_enough():
    endpoint = queued("a", kept_seconds=60)
    [job] = endpoint.take("w", 1, 105.0)
    endpoint.finish(job, {"output": 1}, 110.0)

    due = job.next_deadline()
    endpoint.pass_deadline(job, due)

    assert due == 170.0
    assert endpoint.find("a") is None


def test_jobs_are_taken_in_the_order_they_came_and_low_priority_last():
    endpoint = queued("low", policy=Policy(low_priority=True))
    for job_id in ("first", "second"):
        endpoint.submit(Job(job_id, {}, submitted=100.0))

    taken = [job.id for job in endpoint.take("w", 2, 101.0) + endpoint.take("w", 2, 101.0)]

    assert taken == ["first", "second", "low"]


def test_cancelling_a_queued_job_tells_no_worker():
    endpoint = queued("a", "b")

    endpoint.cancel(endpoint.jobs["a"], 101.0)

    assert [job.id for job in endpoint.take("w", 5, 102.0)] == ["b"]
    assert endpoint.stops_for("w") == []


def test_a_worker_is_told_once_what_to_stop():
    endpoint = queued("a")
    endpoint.take("w", 1, 101.0)

    endpoint.cancel(endpoint.jobs["a"], 102.0)

    assert endpoint.stops_for("w") == ["a"]
    assert endpoint.stops_for("w") == []


def test_a_retried_job_starts_over_at_the_end_of_the_queue():
    endpoint = queued("a", "b")
    [job] = endpoint.take("w", 1, 101.0)
    endpoint.finish(job, {"error": "broken"}, 102.0)

    endpoint.retry(job, 103.0)

    assert job.describe() == {"id": "a", "status": "IN_QUEUE"}
    assert [job.id for job in endpoint.take("w", 5, 104.0)] == ["b", "a"]
    assert job.describe()["delayTime"] == 1000
    assert endpoint.health()["jobs"] == {
        "completed": 0,
        "failed": 1,
        "inProgress": 2,
        "inQueue": 0,
        "retried": 1,
    }


def test_a_stopped_worker_gets_jobs_again_only_as_a_new_process():
    endpoint = queued("a", "b")
    wires = [Wire(), Wire(), Wire()]
    endpoint.worker("w").speaks_over(wires[0])
    [job] = endpoint.take("w", 1, 101.0)
    endpoint.finish(job, {"output": 1, "stopPod": True}, 102.0)

    endpoint.worker("w").speaks_over(wires[1])
    as_the_same = endpoint.take("w", 1, 103.0)
    wires[0].closed = wires[1].closed = True
    endpoint.worker("w").speaks_over(wires[2])
    as_a_new_one = endpoint.take("w", 1, 104.0)

    assert as_the_same == []
    assert [job.id for job in as_a_new_one] == ["b"]


def test_health_counts_workers_by_their_open_connections():
    endpoint = queued("a")
    wires = [Wire(), Wire(), Wire()]
    for name, wire in zip(("busy", "idle", "dead"), wires, strict=True):
        endpoint.worker(name).speaks_over(wire)
    endpoint.take("busy", 1, 101.0)
    wires[2].closed = True

    workers = endpoint.health()["workers"]

    assert (workers["running"], workers["idle"], workers["ready"]) == (1, 1, 1)


def test_a_passing_fault_strikes_once_per_mention_and_a_standing_one_always():
    faults = Faults(["take_500", "take_500", "slow_take"])

    assert [faults.strikes("take_500") for _ in range(3)] == [True, True, False]
    assert [faults.strikes("slow_take") for _ in range(3)] == [True, True, True]


def test_a_fault_that_does_not_exist_is_named_with_those_that_do():
    with pytest.raises(ValueError, match=r"'take_5OO'.*take_500"):
        Faults(["take_5OO"])
