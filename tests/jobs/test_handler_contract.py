"""The handler's answers, the same with the emulator and with a real ComfyUI (COMFYUI_DIR)."""

import asyncio
import base64
from typing import Any

import pytest

from comfyport.serve.host import Host
from tests import workflows
from tests.conftest import picture, png, run


def test_a_workflow_without_a_model_gives_back_its_picture(host: Host):
    answer = run(host, {"workflow": workflows.scaled(0x00FF00)})

    image = picture(answer["images"][0])
    assert (image.size, image.getpixel((31, 23))) == ((32, 24), (0, 255, 0))


def test_an_image_of_the_answer_tells_all_that_is_known_of_it(host: Host):
    answer = run(host, {"workflow": workflows.scaled(0x0000FF)})

    item = answer["images"][0]
    assert item["filename"].startswith("scaled_")
    assert (item["type"], item["node_id"], item["media_type"]) == ("base64", "3", "image/png")
    assert item["size"] == len(base64.b64decode(item["data"]))
    assert set(answer["timings"]) >= {"wait_models", "inputs", "queue", "execute", "outputs"}


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
def test_an_input_image_reaches_the_workflow(host: Host, prefix: str):
    name = f"in-{len(prefix)}.png"
    images = [{"name": name, "image": prefix + png((5, 4), (255, 0, 10))}]

    answer = run(host, {"workflow": workflows.inverted(name), "images": images})

    image = picture(answer["images"][0])
    assert (image.size, image.getpixel((0, 0))) == ((5, 4), (0, 255, 245))


def test_a_model_on_the_volume_is_found_and_used(host: Host):
    answer = run(host, {"workflow": workflows.upscaled("quickstart-4x.safetensors")})

    assert picture(answer["images"][0]).size == (32, 32)


def test_the_same_job_twice_gives_the_same_picture_twice(host: Host):
    job = {"workflow": workflows.scaled(0x123456)}

    first, second = run(host, job), run(host, job)

    assert first["images"][0]["sha256"] == second["images"][0]["sha256"]


def test_jobs_at_once_each_get_their_own_picture(host: Host):
    async def together() -> list[dict[str, Any]]:
        jobs = [{"input": {"workflow": workflows.scaled(colour)}} for colour in range(10, 15)]
        return await asyncio.gather(*(host.run(job) for job in jobs))

    answers = asyncio.run(together())

    assert [picture(answer["images"][0]).getpixel((0, 0)) for answer in answers] == [(0, 0, b) for b in range(10, 15)]


def test_a_workflow_that_only_previews_is_a_success_without_images(host: Host):
    workflow = workflows.scaled(0xABCDEF) | {"3": workflows.node("PreviewImage", images=["2", 0])}

    answer = run(host, {"workflow": workflow})

    assert (answer["status"], answer["images"]) == ("success_no_images", [])


def test_a_missing_model_is_named_with_what_there_is(host: Host):
    answer = run(host, {"workflow": workflows.sampled("absent.safetensors")})

    assert answer["error_code"] == "workflow_rejected"
    assert "Node 1 (CheckpointLoaderSimple): ckpt_name: 'absent.safetensors' is not there" in answer["error"]
    assert "There is: present.safetensors" in answer["error"]
    assert answer["details"]["node_errors"]["1"]["errors"][0]["type"] == "value_not_in_list"


def test_an_unknown_node_is_named(host: Host):
    answer = run(host, {"workflow": {"7": workflows.node("NoSuchNode")}})

    assert answer["error_code"] == "workflow_rejected"
    assert "NoSuchNode" in answer["error"]


def test_a_workflow_without_an_output_is_refused(host: Host):
    answer = run(host, {"workflow": {"1": workflows.scaled()["1"]}})

    assert answer["error_code"] == "workflow_rejected"
    assert "no outputs" in answer["error"].lower()


def test_a_node_that_fails_is_named_with_its_message(host: Host):
    answer = run(host, {"workflow": workflows.upscaled("broken.safetensors")})

    assert answer["error_code"] == "execution_failed"
    assert answer["error"].startswith("Workflow execution error: Node Type: UpscaleModelLoader, Node ID: 2")
    assert answer["details"]["traceback"]


def test_the_worker_goes_on_after_a_failure(host: Host):
    run(host, {"workflow": workflows.upscaled("broken.safetensors")})

    assert "images" in run(host, {"workflow": workflows.scaled(0x010203)})


def test_all_inputs_that_cannot_be_read_are_told_at_once(host: Host):
    images = [{"name": "a.png", "image": "?"}, {"name": "b.png", "image": "a"}]

    answer = run(host, {"workflow": workflows.scaled(), "images": images})

    assert answer["error"] == "Failed to upload one or more input images"
    assert [problem.split(":")[0] for problem in answer["details"]["problems"]] == [
        "Error decoding base64 for a.png",
        "Error decoding base64 for b.png",
    ]


def test_a_job_that_is_no_job_is_answered_too(host: Host):
    assert run(host, None)["error"] == "Please provide input"


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("more", "values", "reason"),
    [
        ({"9": "text"}, {}, "A node must be an object"),
        ({"9": workflows.node("PreviewAny", source=nested(400))}, {}, "nested more than 300 levels deep"),
        ({"9": workflows.node("PreviewAny", source=nested(100_000))}, {}, "nested more than 300 levels deep"),
        ({}, {"1.width": nested(400)}, "nested more than 300 levels deep"),
        ({"9": "text"}, {"EmptyImage.width": 8}, "A node must be an object"),
    ],
)
def test_a_workflow_without_the_form_of_one_is_refused_in_one_way(
    host: Host, more: dict[str, Any], values: dict[str, Any], reason: str
):
    answer = run(host, {"workflow": workflows.scaled() | more, "set": values})

    assert answer["error_code"] == "workflow_rejected"
    assert reason in answer["error"]


def test_a_workflow_may_be_nested_as_deep_as_comfyui_reads_it(host: Host):
    workflow = workflows.scaled(3)
    workflow["1"]["inputs"]["undeclared"] = nested(200)

    assert "images" in run(host, {"workflow": workflow})
