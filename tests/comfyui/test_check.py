"""What is known of a ComfyUI is asked for once, and again before anything is refused for it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from comfyport.comfyui.check import Checker
from comfyport.comfyui.client import Client
from comfyport.comfyui.inventory import Inventory
from comfyport.comfyui.process import Attached
from comfyport.errors import WorkflowRejected
from emulators.comfyui import ComfyUIEmulator
from emulators.server import LoopbackServer
from tests import workflows
from tests.workflows import node


@asynccontextmanager
async def inventory(url: str) -> AsyncIterator[Inventory]:
    """The inventory of a ComfyUI that is ready."""
    async with aiohttp.ClientSession() as session:
        client = Client(url, session)
        async with (
            Attached(url, ready=client.answers, notice=lambda health: None) as comfyui,
            Inventory(client, comfyui) as entered,
        ):
            await comfyui.wait_ready()
            yield entered


def upscalers(folder: Path) -> Path:
    """The folder of the upscalers of an emulator that lives in `folder`."""
    place = folder / "models" / "upscale_models"
    place.mkdir(parents=True, exist_ok=True)
    return place


def asked_for_all(comfyui: ComfyUIEmulator) -> int:
    return comfyui.requests.count("GET /object_info")


async def test_comfyui_is_asked_once_for_many_jobs(tmp_path: Path):
    with ComfyUIEmulator(tmp_path) as comfyui:
        async with inventory(comfyui.url) as known:
            checker = Checker(known, hint=lambda file: "")
            await asyncio.gather(*(checker.check(workflows.scaled(colour)) for colour in range(20)))

        assert asked_for_all(comfyui) == 1


async def test_a_model_that_has_come_since_is_found(tmp_path: Path):
    with ComfyUIEmulator(tmp_path) as comfyui:
        place = upscalers(tmp_path)
        async with inventory(comfyui.url) as known:
            checker = Checker(known, hint=lambda file: "")
            with pytest.raises(WorkflowRejected):
                await checker.check(workflows.upscaled("new.safetensors"))
            (place / "new.safetensors").touch()

            await checker.check(workflows.upscaled("new.safetensors"))


async def test_a_path_that_was_saved_on_windows_is_one_of_this_system(tmp_path: Path):
    with ComfyUIEmulator(tmp_path) as comfyui:
        async with inventory(comfyui.url) as known:
            checker = Checker(known, hint=lambda file: "")
            await checker.check(workflows.scaled())
            place = upscalers(tmp_path) / "4x"
            place.mkdir()
            (place / "new.safetensors").touch()

            checked = await checker.check(workflows.upscaled("4x\\new.safetensors"))

    assert checked["2"]["inputs"]["model_name"] == "4x/new.safetensors"


async def test_a_file_for_an_old_loader_that_has_come_since_is_spelled_as_comfyui_lists_it(tmp_path: Path):
    with ComfyUIEmulator(tmp_path) as comfyui:
        async with inventory(comfyui.url) as known:
            checker = Checker(known, hint=lambda file: "")
            await checker.check(workflows.scaled())
            place = tmp_path / "models" / "checkpoints" / "SDXL"
            place.mkdir(parents=True)
            (place / "new.ckpt").touch()

            checked = await checker.check(workflows.sampled("SDXL\\new.ckpt"))
            asked = asked_for_all(comfyui)
            await checker.check(workflows.sampled("SDXL\\new.ckpt"))

        assert checked["1"]["inputs"]["ckpt_name"] == "SDXL/new.ckpt"
        assert asked_for_all(comfyui) == asked


async def test_a_file_that_a_node_may_allow_is_asked_for_once(tmp_path: Path):
    with ComfyUIEmulator(tmp_path) as comfyui:
        async with inventory(comfyui.url) as known:
            checker = Checker(known, hint=lambda file: "")
            for _ in range(3):
                await checker.check(workflows.sampled("absent.ckpt"))

        assert asked_for_all(comfyui) == 2


async def test_a_missing_model_is_told_with_the_nearest_one_and_what_would_bring_it(tmp_path: Path):
    with ComfyUIEmulator(tmp_path) as comfyui:
        (upscalers(tmp_path) / "RealESRGAN_x4.pth").touch()
        async with inventory(comfyui.url) as known:
            checker = Checker(known, hint=lambda file: f"Look for {file.folder}/{file.name}.")

            with pytest.raises(WorkflowRejected) as refused:
                await checker.check(workflows.upscaled("sub\\RealESRGAN_x2.pth"))

    assert "Nearest: RealESRGAN_x4.pth. Look for upscale_models/sub/RealESRGAN_x2.pth." in refused.value.message


async def test_missing_names_the_models_that_comfyui_does_not_find(tmp_path: Path):
    with ComfyUIEmulator(tmp_path) as comfyui:
        async with inventory(comfyui.url) as known:
            checker = Checker(known, hint=lambda file: "")

            missing = await checker.missing(workflows.sampled("a.ckpt") | workflows.upscaled("b.pth"))

    assert {(file.folder, file.name) for file in missing} == {("upscale_models", "b.pth")}


class Told(LoopbackServer):
    """A ComfyUI that tells of its nodes what `answer` gives: to /object_info, and to /object_info/{class}."""

    def __init__(self, answer: Callable[[str], web.Response]) -> None:
        async def ready(request: web.Request) -> web.Response:
            return web.json_response({})

        async def tell(request: web.Request) -> web.Response:
            return answer(request.match_info.get("name", ""))

        app = web.Application()
        app.add_routes(
            [
                web.get("/system_stats", ready),
                web.get("/object_info", tell),
                web.get("/object_info/{name}", tell),
            ]
        )
        super().__init__(app)


@pytest.mark.parametrize(
    "answer",
    [
        web.Response(status=500, text="500: Internal Server Error"),
        web.Response(status=404),
        web.Response(text="<html>", content_type="text/html"),
        web.Response(text="{", content_type="application/json"),
    ],
)
async def test_comfyui_alone_judges_when_it_does_not_tell_what_it_can_run(answer: web.Response):
    with Told(lambda name: web.Response(status=answer.status, text=answer.text, content_type="text/html")) as comfyui:
        async with inventory(comfyui.url) as known:
            await Checker(known, hint=lambda file: "").check({"1": node("NoSuchNode")})


async def test_what_ends_comfyuis_prompt_thread_is_refused_even_so():
    with Told(lambda name: web.Response(status=500)) as comfyui:
        async with inventory(comfyui.url) as known:
            with pytest.raises(WorkflowRejected):
                await Checker(known, hint=lambda file: "").check({"1": {"class_type": "A", "inputs": []}})


async def test_a_node_that_fails_to_tell_its_inputs_is_not_taken_for_unknown():
    def answer(name: str) -> web.Response:
        if name == "Broken":
            return web.Response(status=500)
        return web.json_response({} if name else {"Save": {"input": {}, "output": [], "output_node": True}})

    workflow = {"1": node("Broken"), "2": node("Save")}
    with Told(answer) as comfyui:
        async with inventory(comfyui.url) as known:
            checker = Checker(known, hint=lambda file: "")
            await checker.check(workflow)
            with pytest.raises(WorkflowRejected) as refused:
                await checker.check(workflow | {"3": node("Gone/For good")})

    assert list(refused.value.details["node_errors"]) == ["3"]


def refusal(node_errors: Any) -> WorkflowRejected:
    raw = {"error": {"type": "prompt_outputs_failed_validation"}, "node_errors": node_errors}
    return WorkflowRejected("Workflow validation failed:", node_errors=node_errors, raw=raw)


def own(name: str, message: str) -> dict[str, Any]:
    return {"type": "custom_validation_failed", "message": message, "extra_info": {"input_name": name}}


async def test_comfyuis_own_refusal_is_told_with_what_it_did_not_see(tmp_path: Path):
    workflow = workflows.upscaled("absent.pth") | {"9": node("SaveImage", images=["77", 0])}
    workflow["3"]["inputs"]["image"] = ["77", 0]
    theirs = {
        "9": {"errors": [{"type": "exception_during_validation", "message": "77"}], "class_type": "SaveImage"},
        "4": {"errors": [own("images", "Own words")], "class_type": "SaveImage"},
        "3": {"errors": [own("image", "Theirs")], "class_type": "ImageUpscaleWithModel"},
    }
    with ComfyUIEmulator(tmp_path) as comfyui:
        async with inventory(comfyui.url) as known:
            await known.known()
            told = Checker(known, hint=lambda file: "").explained(refusal(theirs), workflow)

    assert told.message.splitlines() == [
        "Workflow validation failed:",
        "• Node 9 (SaveImage): It is linked to node 77, which is not there: images",
        "• Node 9 (SaveImage): Required input is missing: filename_prefix",
        "• Node 4 (SaveImage): Own words",
        "• Node 3 (ImageUpscaleWithModel): Theirs",
        "• Node 2 (UpscaleModelLoader): model_name: 'absent.pth' is not there. There is: none.",
    ]
    json.dumps(told.as_answer())


@pytest.mark.parametrize("odd", [{}, {"9": None}, {"9": {}}, {"9": {"errors": None}}, {"9": {"errors": [None, 7]}}])
async def test_an_odd_refusal_of_comfyui_is_told_too(tmp_path: Path, odd: Any):
    with ComfyUIEmulator(tmp_path) as comfyui:
        async with inventory(comfyui.url) as known:
            told = Checker(known, hint=lambda file: "").explained(refusal(odd), workflows.scaled())

    assert told.message.startswith("Workflow validation failed:")
