"""`POST /api/generate`: a product from several viewpoints, over a real socket, with the emulated ComfyUI."""

import base64
import io
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
import requests
from PIL import Image

from tests.recipes.conftest import PHOTO, Kitchen, views, wait_until

TWELVE = [f"side-{number}" for number in range(12)]
# 5 s and more for each view: what is cancelled is still at work.
LONG = 100


def pictures(answer: dict[str, Any]) -> list[Image.Image]:
    return [Image.open(io.BytesIO(base64.b64decode(view["image"]))) for view in answer["images"]]


@pytest.mark.parametrize("ids", [["left"], ["left", "right", "top"], TWELVE], ids=len)
def test_every_view_comes_back_in_its_place(shared: Kitchen, ids: list[str]):
    response = shared.post("/api/generate", views(*ids, cfg_scale=1.5))
    answer = response.json()

    assert response.status_code == 200, answer
    assert [view["perspective_id"] for view in answer["images"]] == ids
    assert [view["perspective_name"] for view in answer["images"]] == [f"View {id}" for id in ids]
    assert {picture.size for picture in pictures(answer)} == {(368, 280)}
    assert len({view["image"] for view in answer["images"]}) == len(ids)
    assert answer["original_image"] == PHOTO
    assert answer["total_time"] > 0
    assert not any("error" in view for view in answer["images"])


def test_each_view_draws_a_seed_of_its_own(shared: Kitchen):
    seeds = [view["seed_used"] for view in shared.post("/api/generate", views("a", "b", "c")).json()["images"]]

    assert len(set(seeds)) == 3
    assert all(type(seed) is int for seed in seeds)


def test_a_given_seed_holds_for_every_view_and_gives_the_same_pictures_again(shared: Kitchen):
    first = shared.post("/api/generate", views("a", "b", seed=7)).json()["images"]
    again = shared.post("/recipes/multi-view", views("b", "a", seed=7)).json()["images"]

    assert [view["seed_used"] for view in first] == [7, 7]
    assert first == again[::-1]


def test_what_is_asked_for_reaches_the_workflow(shared: Kitchen):
    shared.post("/api/generate", views("back", seed=3, steps=2, cfg_scale=2.5, lightning=0.5))
    sent = shared.comfyui.prompts[-1]["prompt"]

    assert sent["111"]["inputs"]["prompt"] == "seen from the back"
    assert (sent["3"]["inputs"]["seed"], sent["3"]["inputs"]["steps"], sent["3"]["inputs"]["cfg"]) == (3, 2, 2.5)
    assert sent["89"]["inputs"]["strength_model"] == 0.5


@pytest.mark.parametrize("ids", [["left", "impossible", "right"], ["impossible", *TWELVE[1:]]], ids=len)
def test_a_view_that_fails_is_listed_with_its_error_and_the_others_are_there(shared: Kitchen, ids: list[str]):
    response = shared.post("/api/generate", views(*ids, seed=5))
    answer = response.json()
    (bad,) = [view for view in answer["images"] if "error" in view]

    assert response.status_code == 200
    assert [view["perspective_id"] for view in answer["images"]] == ids
    assert sum(view["image"] is not None for view in answer["images"]) == len(ids) - 1
    assert (bad["perspective_id"], bad["image"], bad["seed_used"]) == ("impossible", None, 5)
    assert bad["error_code"] == "execution_failed"
    assert "TextEncodeQwenImageEditPlus" in bad["error"]
    assert bad["details"]["node_id"] == "111"


@pytest.mark.parametrize("ids", [["impossible"], ["impossible", "impossible, too"]], ids=len)
def test_when_every_view_fails_of_the_same_the_request_has_failed_of_it(shared: Kitchen, ids: list[str]):
    response = shared.post("/api/generate", views(*ids))
    answer = response.json()

    assert (response.status_code, answer["error_code"]) == (500, "execution_failed")
    assert "images" not in answer


def test_a_client_that_hangs_up_leaves_nothing_behind(shared: Kitchen):
    before = shared.sent
    hang_up = asking(shared, views(*TWELVE, steps=LONG))
    shared.wait_for_prompt(before + 1)

    hang_up()
    shared.wait_until_idle()
    after = shared.post("/api/generate", views("after"))

    assert after.status_code == 200
    assert shared.sent == before + 2


def test_whoever_will_ask_again_may_hang_up(shared: Kitchen):
    before, body, key = shared.sent, views("a", "b", steps=5), {"Idempotency-Key": "order-1"}
    hang_up = asking(shared, body, **key)
    shared.wait_for_prompt(before + 1)

    hang_up()
    answer = shared.post("/api/generate", body, headers=key)

    assert [view["perspective_id"] for view in answer.json()["images"]] == ["a", "b"]
    assert shared.sent == before + 2


def test_cancelling_ends_the_view_under_way_and_those_to_come(shared: Kitchen):
    before = shared.sent
    job_id = shared.post("/api/generate?wait=0", views(*TWELVE, steps=LONG)).json()["id"]
    shared.wait_for_prompt(before + 1)

    cancelled = shared.post(f"/cancel/{job_id}").json()
    shared.wait_until_idle()

    assert cancelled["status"] == "CANCELLED"
    assert shared.sent == before + 1


def test_who_waits_for_a_request_that_is_cancelled_is_told(shared: Kitchen):
    key, body, answers = {"Idempotency-Key": "cancelled"}, views("a", "b", steps=LONG), []
    job_id = shared.post("/api/generate?wait=0", body, headers=key).json()["id"]
    waiting = threading.Thread(target=lambda: answers.append(shared.post("/api/generate", body, headers=key)))
    waiting.start()

    shared.post(f"/cancel/{job_id}")
    waiting.join()

    assert (answers[0].status_code, answers[0].json()["error_code"]) == (409, "job_cancelled")


def test_a_request_that_waits_in_the_queue_goes_when_its_client_does(shared: Kitchen):
    before = shared.sent
    running = shared.post("/api/generate?wait=0", views("a", steps=LONG)).json()["id"]
    shared.wait_for_prompt(before + 1)
    hang_up = asking(shared, views("waits"))
    wait_until(lambda: shared.jobs()["inQueue"] == 1, "the second request waits")

    hang_up()
    wait_until(lambda: shared.jobs()["inQueue"] == 0, "nothing waits")
    shared.post(f"/cancel/{running}")
    shared.wait_until_idle()

    assert shared.sent == before + 1


def test_more_than_it_waits_for_is_answered_with_the_id_to_ask_for(shared: Kitchen):
    later = shared.post("/api/generate?wait=0", views("a", seed=1))
    finished = shared.post("/runsync", {"input": {"recipe": "multi-view", "parameters": views("a", seed=1)}}).json()
    asked = shared.get(later.headers["Location"]).json()

    assert (later.status_code, later.json()["id"]) == (202, later.headers["X-Job-Id"])
    assert asked["output"]["images"] == finished["output"]["images"]
    assert asked["output"]["images"][0]["perspective_id"] == "a"


def test_the_progress_is_that_of_all_views_together(shared: Kitchen):
    key = {"Accept": "text/event-stream"}
    job_id = shared.post("/api/generate?wait=0", views("a", "b")).json()["id"]

    told = shared.get(f"/stream/{job_id}", headers=key).text
    events = [line for line in told.splitlines() if '"type":"progress"' in line]

    assert '"run":1,"runs":2' in events[0]
    assert '"run":2,"runs":2' in events[-1]


def asking(kitchen: Kitchen, body: dict[str, Any], **headers: str) -> Callable[[], None]:
    """Sends a request without waiting for its answer; what is returned hangs up."""
    request = requests.Request("POST", f"{kitchen.url}/api/generate", json=body, headers=headers).prepare()
    host, port = kitchen.url.removeprefix("http://").split(":")
    lines = [f"POST {request.path_url} HTTP/1.1", f"Host: {host}", *(f"{k}: {v}" for k, v in request.headers.items())]
    connection = socket.create_connection((host, int(port)))
    connection.sendall("\r\n".join([*lines, "", ""]).encode() + bytes(request.body or b""))
    return connection.close
