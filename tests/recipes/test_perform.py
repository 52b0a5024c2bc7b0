"""Recipes through the shared handler: pictures by address, time limits, and the same answer behind every door."""

import asyncio
import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from comfyport.jobs.events import Event
from comfyport.recipes.progress import RunProgress
from comfyport.serve.host import Host
from emulators.runpod import RunPodEmulator
from emulators.server import LoopbackServer
from tests.conftest import ROOT, Container, picture, png, run, running_host
from tests.recipes.conftest import PHOTO, RECIPES, bring_models, squares, views


class Shop(LoopbackServer):
    """Serves a photo, and counts who asked."""

    def __init__(self) -> None:
        app = web.Application()
        app.add_routes([web.get("/photo.png", self.photo), web.get("/large.png", self.large)])
        super().__init__(app)
        self.asked = 0

    async def photo(self, request: web.Request) -> web.Response:
        self.asked += 1
        return web.Response(body=base64.b64decode(PHOTO), content_type="image/png")

    async def large(self, request: web.Request) -> web.Response:
        return web.Response(body=base64.b64decode(PHOTO) + bytes(21_000_000), content_type="image/png")


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A worker with the shipped recipes, and `squares` on its volume."""
    folder = tmp_path_factory.mktemp("worker")
    bring_models(folder / "volume")
    squares(folder / "volume" / "recipes")
    environ = {"RECIPES_DIR": str(RECIPES), "ALLOW_PRIVATE_URLS": "true", "COMFYUI_ARGS": "--step-seconds 0.05"}
    with running_host(folder, **environ) as host:
        yield host


def ordered(name: str, parameters: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"recipe": name, "parameters": parameters, **more}


def test_a_picture_behind_an_address_is_fetched_once_for_all_views(worker: Host):
    with Shop() as shop:
        address = f"{shop.url}/photo.png"
        by_address = run(worker, ordered("multi-view", views("a", "b", "c", image=address, seed=1)))

    sent = run(worker, ordered("multi-view", views("a", "b", "c", seed=1)))

    assert shop.asked == 1
    assert by_address["original_image"] == address
    assert by_address["images"] == sent["images"]


@pytest.mark.parametrize("path", ["/large.png", "/gone.png"])
def test_a_picture_that_cannot_be_had_fails_the_request_before_any_view(worker: Host, path: str):
    with Shop() as shop:
        answer = run(worker, ordered("multi-view", views("a", "b", image=f"{shop.url}{path}")))

    assert answer["error_code"] == "input_failed"


def test_time_that_is_over_costs_the_views_that_are_not_made_yet_and_no_other(worker: Host):
    endless = {"colour": 2, "steps": 10_000}
    answer = run(worker, ordered("squares", {"squares": [{"colour": 1}, endless, {"colour": 3}]}, timeout=5))

    assert [result.get("error_code") for result in answer["results"]] == [None, "job_timed_out", "job_timed_out"]
    assert picture({"data": answer["results"][0]["file"]}).getpixel((0, 0)) == (0, 0, 1)
    assert "5 s" in answer["results"][2]["error"]


def test_when_every_run_fails_of_something_else_all_reasons_are_told(worker: Host):
    answer = run(worker, ordered("squares", {"squares": [{"colour": 2**30}, {"colour": 2**31}]}))

    failures = answer["details"]["failures"]

    assert answer["error_code"] == "recipe_failed"
    assert [failure["colour"] for failure in failures] == [2**30, 2**31]
    assert {failure["error_code"] for failure in failures} == {"output_missing"}
    assert all(f"Value {failure['colour']} bigger than max" in failure["error"] for failure in failures)


def test_the_timings_are_those_of_all_runs(worker: Host):
    answer = run(worker, ordered("multi-view", views("a", "b", steps=2)))

    assert answer["timings"]["execute"] >= 0.15
    assert answer["total_time"] >= answer["timings"]["execute"]


def test_progress_never_goes_back(worker: Host):
    told: list[Event] = []
    job = {"id": "progress", "input": ordered("multi-view", views("a", "b", "c", steps=2))}
    asyncio.run(worker.run(job, told.append))
    runs = [event for event in told if isinstance(event, RunProgress)]

    assert [event.percent for event in runs] == sorted(event.percent for event in runs)
    assert {(event.run, event.runs) for event in runs} == {(1, 3), (2, 3), (3, 3)}


def test_how_the_files_are_wanted_holds_for_recipes_too(worker: Host):
    answer = run(worker, ordered("squares", {"squares": [{"colour": 1}, {"colour": 2}]}, output={"delivery": "volume"}))
    files = [result["file"] for result in answer["results"]]

    assert [file.split("/")[:2] for file in files] == [["outputs", "job-1"], ["outputs", "job-2"]]
    assert all((worker.settings.volume_folder / file).is_file() for file in files)


def test_an_input_may_be_a_json_string_here_too(worker: Host):
    answer = run(worker, json.dumps(ordered("squares", {"squares": [{"colour": 1}]})))

    assert len(answer["results"]) == 1


@pytest.mark.timeout(180)
def test_runpod_gets_the_answer_that_every_door_gives(
    platform: RunPodEmulator, start: Callable[..., Container], tmp_path: Path, worker: Host
):
    bring_models(tmp_path / "volume")
    start(ROOT / "src" / "start.sh", **platform.environment(), RECIPES_DIR=str(RECIPES))
    asked = ordered("multi-view", views("a", "b", seed=4))

    job = platform.wait(platform.submit(asked), timeout=120)

    here = run(worker, asked)
    assert job["status"] == "COMPLETED"
    assert job["output"]["images"] == here["images"]
    assert set(job["output"]) == set(here)


@pytest.mark.parametrize("name", ["image-edit", "multi-view", "text-to-image"])
def test_of_a_shipped_workflow_comfyui_misses_nothing_but_its_models(host: Host, name: str):
    workflow = json.loads((RECIPES / name / "workflow.json").read_text(encoding="utf-8"))

    answer = run(host, {"workflow": workflow, "images": [{"name": "picture.png", "image": png((8, 8), (9, 9, 9))}]})

    assert answer["error_code"] == "workflow_rejected", answer
    problems = [problem for node in answer["details"]["node_errors"].values() for problem in node["errors"]]
    assert {problem["type"] for problem in problems} == {"value_not_in_list"}
    missed = {problem["extra_info"]["received_value"] for problem in problems}
    assert all(file.endswith(".safetensors") for file in missed)
