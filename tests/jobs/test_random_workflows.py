"""Workflows put together at random: each is answered, and none takes ComfyUI away from the next."""

import asyncio
import random
from typing import Any

import pytest

from comfyport.serve.host import Host
from tests import workflows
from tests.conftest import run
from tests.workflows import node

IDS = "abcdef"
ODD: list[Any] = [None, 0, -1, "16", "", "wide", True, {}, {"__value__": [1]}, [], ["a"], ["a", 0, 1], "a.pth", 10**30]
ERRORS = {"workflow_rejected", "execution_failed", "no_outputs"}


def link(dice: random.Random) -> list[Any]:
    return [dice.choice(IDS + "z"), dice.choice([0, 0, 0, 1, -1, 5, 0.5, "0", None])]


def random_node(dice: random.Random) -> dict[str, Any]:
    """A node that mostly fits."""
    made = dice.choice(
        [
            node("EmptyImage", width=8, height=8, batch_size=1, color=dice.randrange(1 << 24)),
            node("ImageInvert", image=[dice.choice(IDS), 0]),
            node("ImageBatch", image1=[dice.choice(IDS), 0], image2=[dice.choice(IDS), 0]),
            node("ImageScale", image=link(dice), upscale_method="area", width=8, height=8, crop="disabled"),
            node("SaveImage", images=[dice.choice(IDS), 0], filename_prefix="random"),
            node("PreviewImage", images=[dice.choice(IDS), 0]),
            node("UpscaleModelLoader", model_name=dice.choice(["a.pth", "broken.safetensors"])),
            node("CheckpointLoaderSimple", ckpt_name="a.safetensors"),
        ]
    )
    inputs: dict[str, Any] = made["inputs"]
    fate = dice.random()
    if fate < 0.1:
        inputs.pop(dice.choice(list(inputs)))
    elif fate < 0.2:
        inputs[dice.choice(list(inputs))] = dice.choice([*ODD, link(dice)])
    elif fate < 0.3:
        inputs["undeclared"] = dice.choice([*ODD, link(dice)])
    elif fate < 0.33:
        made["class_type"] = dice.choice([None, 5, ["EmptyImage"], {}, "", "NoSuchNode"])
    elif fate < 0.36:
        made["inputs"] = dice.choice([None, [], {}, "inputs"])
    return made


def random_workflow(dice: random.Random) -> dict[str, Any]:
    """A few random nodes; in half of them beside two that can run."""
    made = {name: random_node(dice) for name in IDS[: dice.randint(1, 6)]}
    sound = {
        "g": node("EmptyImage", width=8, height=8, batch_size=1, color=dice.randrange(1 << 24)),
        "h": node("SaveImage", images=["g", 0], filename_prefix="sound"),
    }
    return made | (sound if dice.random() < 0.5 else {})


@pytest.mark.parametrize("seed", range(4))
def test_a_random_workflow_is_answered_and_the_next_job_runs(host: Host, seed: int):
    dice = random.Random(seed)
    made = [random_workflow(dice) for _ in range(25)]

    async def together() -> list[dict[str, Any]]:
        return await asyncio.gather(*(host.run({"input": {"workflow": workflow}}) for workflow in made))

    answers = asyncio.run(asyncio.wait_for(together(), 100))

    assert any(answer.get("images") for answer in answers)
    assert {answer["error_code"] for answer in answers if "images" not in answer} <= ERRORS
    assert "error" not in run(host, {"workflow": workflows.scaled(seed)})
