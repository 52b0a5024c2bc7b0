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
Opened = Callable[..., Kitchen]


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


def test_a_view_that_fails_is_listed_with_its_error_and_the_others_are_there(opened: Opened):
    kitchen = opened(faults=["impossible_prompt"])
    asked = views("left", "bad", "right", seed=5)
    asked["perspectives"][1]["prompt"] = "an impossible view"

    response = kitchen.post("/api/generate", asked)
    left, bad, right = response.json()["images"]

    assert response.status_code == 200
    assert left["image"]
    assert right["image"]
    assert (bad["perspective_id"], bad["image"], bad["seed_used"]) == ("bad", None, 5)
    assert bad["error_code"] == "execution_failed"
    assert "TextEncodeQwenImageEditPlus" in bad["error"]
    assert bad["details"]["node_id"] == "111"


def test_when_the_gpu_runs_out_of_memory_once_one_view_is_lost(opened: Opened):
    answer = opened(faults=["oom=1"]).post("/api/generate", views("left", "right")).json()

    assert [view.get("error_code") for view in answer["images"]] == ["execution_failed", None]


def test_when_no_view_comes_out_the_request_has_failed(opened: Opened):
    response = opened(faults=["oom"]).post("/api/generate", views("left", "right"))
    answer = response.json()

    assert (response.status_code, answer["error_code"]) == (500, "recipe_failed")
    assert [failure["perspective_id"] for failure in answer["details"]["failures"]] == ["left", "right"]
    assert "images" not in answer


def test_a_single_view_that_fails_is_answered_with_its_own_error(opened: Opened):
    response = opened(faults=["oom"]).post("/api/generate", views("left"))

    assert (response.status_code, response.json()["error_code"]) == (500, "execution_failed")


def test_a_time_that_is_over_costs_only_the_views_that_were_not_made_yet(opened: Opened):
    kitchen = opened(step_seconds=0.01)
    asked = {"recipe": "multi-view", "parameters": views("quick", "endless"), "timeout": 5}
    asked["parameters"]["perspectives"][1]["prompt"] = "x"
    done = kitchen.post("/runsync", {"input": {**asked, "parameters": views("a", "b", steps=1)}}).json()

    assert [view.get("error_code") for view in done["output"]["images"]] == [None, None]


def test_a_client_that_hangs_up_leaves_nothing_behind(opened: Opened):
    kitchen = opened(step_seconds=0.2)
    hang_up = asking(kitchen, views(*TWELVE, steps=50))
    wait_until(lambda: bool(kitchen.comfyui.prompts), "ComfyUI has the first view")

    hang_up()
    wait_until(kitchen.is_idle, "nothing runs or waits")
    after = kitchen.post("/api/generate", views("after"))

    assert after.status_code == 200
    assert len(kitchen.comfyui.prompts) == 2


def test_whoever_will_ask_again_may_hang_up(opened: Opened):
    kitchen = opened(step_seconds=0.02)
    body, key = views("a", "b", steps=5), {"Idempotency-Key": "order-1"}
    hang_up = asking(kitchen, body, **key)
    wait_until(lambda: bool(kitchen.comfyui.prompts), "ComfyUI has the first view")

    hang_up()
    answer = kitchen.post("/api/generate", body, headers=key)

    assert [view["perspective_id"] for view in answer.json()["images"]] == ["a", "b"]
    assert len(kitchen.comfyui.prompts) == 2


def test_cancelling_ends_the_view_under_way_and_those_to_come(opened: Opened):
    kitchen = opened(step_seconds=0.2)
    job_id = kitchen.post("/api/generate?wait=0", views(*TWELVE, steps=50)).json()["id"]
    wait_until(lambda: bool(kitchen.comfyui.prompts), "ComfyUI has the first view")

    cancelled = kitchen.post(f"/cancel/{job_id}").json()
    wait_until(kitchen.is_idle, "nothing runs or waits")

    assert cancelled["status"] == "CANCELLED"
    assert len(kitchen.comfyui.prompts) == 1


def test_who_waits_for_a_request_that_is_cancelled_is_told(opened: Opened):
    kitchen = opened(step_seconds=0.2)
    key, body, answers = {"Idempotency-Key": "one"}, views("a", "b", steps=50), []
    job_id = kitchen.post("/api/generate?wait=0", body, headers=key).json()["id"]
    waiting = threading.Thread(target=lambda: answers.append(kitchen.post("/api/generate", body, headers=key)))
    waiting.start()

    kitchen.post(f"/cancel/{job_id}")
    waiting.join()

    assert (answers[0].status_code, answers[0].json()["error_code"]) == (409, "job_cancelled")


def asking(kitchen: Kitchen, body: dict[str, Any], **headers: str) -> Callable[[], None]:
    """Sends a request without waiting for its answer; what is returned hangs up."""
    request = requests.Request("POST", f"{kitchen.url}/api/generate", json=body, headers=headers).prepare()
    host, port = kitchen.url.removeprefix("http://").split(":")
    lines = [f"POST {request.path_url} HTTP/1.1", f"Host: {host}", *(f"{k}: {v}" for k, v in request.headers.items())]
    connection = socket.create_connection((host, int(port)))
    connection.sendall("\r\n".join([*lines, "", ""]).encode() + bytes(request.body or b""))
    return connection.close
