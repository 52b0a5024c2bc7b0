"""What only the emulator can do: sample without a model, and misbehave when asked."""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import requests
from PIL import Image

from emulators.comfyui import ComfyUIEmulator

ROOT = Path(__file__).parents[2]


def weights(path: Path) -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0\0\0\0")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "custom_nodes").mkdir()
    for file in ("checkpoints/sd.safetensors", "loras/ink.safetensors", "upscale_models/4x.safetensors"):
        weights(tmp_path / "models" / file)
    return tmp_path


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def picture() -> dict[str, Any]:
    empty = node("EmptyImage", width=8, height=4, batch_size=1, color=255)
    return {
        "1": empty,
        "2": node("ImageInvert", image=["1", 0]),
        "3": node("SaveImage", images=["2", 0], filename_prefix="a"),
    }


def sampling(seed: int = 1, steps: int = 3, text: str = "a cat", strength: float = 0.0) -> dict[str, Any]:
    return {
        "1": node("CheckpointLoaderSimple", ckpt_name="sd.safetensors"),
        "2": node(
            "LoraLoader", model=["1", 0], clip=["1", 1], lora_name="ink.safetensors",
            strength_model=strength, strength_clip=strength,
        ),
        "3": node("CLIPTextEncode", text=text, clip=["2", 1]),
        "4": node("CLIPTextEncode", text="", clip=["2", 1]),
        "5": node("EmptyLatentImage", width=64, height=48, batch_size=1),
        "6": node(
            "KSampler", model=["2", 0], seed=seed, steps=steps, cfg=7.0, sampler_name="euler", scheduler="normal",
            positive=["3", 0], negative=["4", 0], latent_image=["5", 0], denoise=1.0,
        ),
        "7": node("VAEDecode", samples=["6", 0], vae=["1", 2]),
        "8": node("SaveImage", images=["7", 0], filename_prefix="cat"),
    }  # fmt: skip


def post(url: str, prompt: dict[str, Any]) -> str:
    answer = requests.post(f"{url}/prompt", json={"prompt": prompt}, timeout=10)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["prompt_id"])


def run(url: str, prompt: dict[str, Any]) -> dict[str, Any]:
    prompt_id = post(url, prompt)
    while not (history := requests.get(f"{url}/history/{prompt_id}", timeout=10).json()):
        pass
    return dict(history[prompt_id])


def saved(url: str, prompt: dict[str, Any], node_id: str) -> Image.Image:
    file = run(url, prompt)["outputs"][node_id]["images"][0]
    answer = requests.get(f"{url}/view", params=file, timeout=10)
    answer.raise_for_status()
    return Image.open(BytesIO(answer.content))


def outputs(base: Path) -> list[Path]:
    return list(base.glob("output/*.png"))


async def listen(url: str, prompt: dict[str, Any], *, first: dict[str, Any] | None = None) -> list[Any]:
    """Everything that the client of a prompt hears until nothing executes or the connection ends."""
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{url}/ws?clientId=me") as websocket:
        if first is not None:
            await websocket.send_json(first)
        body = {"prompt": prompt, "client_id": "me"}
        async with session.post(f"{url}/prompt", json=body) as answer:
            assert answer.status == 200
        heard: list[Any] = []
        while True:
            message = await websocket.receive(timeout=10)
            if message.type is aiohttp.WSMsgType.BINARY:
                heard.append(message.data)
            elif message.type is aiohttp.WSMsgType.TEXT:
                heard.append(json.loads(message.data))
                if heard[-1]["type"] == "executing" and heard[-1]["data"]["node"] is None:
                    return heard
            else:
                return heard


def kinds(heard: list[Any]) -> list[str]:
    return [message["type"] for message in heard if isinstance(message, dict)]


@contextmanager
def program(base: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """main.py in a process of its own, from another folder and without PYTHONPATH, once it listens."""
    command = [sys.executable, str(ROOT / "emulators/comfyui/main.py"), "--base-directory", str(base), "--port", "0"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with subprocess.Popen(
        [*command, *arguments], cwd=base, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        line = next(line for line in process.stderr if line.startswith("To see the GUI go to: "))
        try:
            yield process, line.removeprefix("To see the GUI go to: ").strip()
        finally:
            process.kill()


def test_a_sampled_picture_depends_on_seed_text_and_lora_and_on_nothing_else(base: Path) -> None:
    asked: dict[str, dict[str, Any]] = {
        "first": {}, "again": {}, "seed": {"seed": 2}, "text": {"text": "a dog"}, "lora": {"strength": 0.5},
    }  # fmt: skip
    drawn = {}

    for name, choice in asked.items():
        with ComfyUIEmulator(base) as comfyui:
            image = saved(comfyui.url, sampling(**choice), "8")
            drawn[name] = image.size, image.tobytes()

    assert drawn["first"] == drawn["again"]
    assert drawn["first"][0] == (64, 48)
    assert len(set(drawn.values())) == 4


async def test_each_step_is_reported(base: Path) -> None:
    with ComfyUIEmulator(base) as comfyui:
        heard = await listen(comfyui.url, sampling(steps=3))

    progress = [message["data"] for message in heard if message["type"] == "progress"]
    assert [(data["value"], data["max"], data["node"]) for data in progress] == [(1, 3, "6"), (2, 3, "6"), (3, 3, "6")]


async def test_previews_are_sent_in_the_form_that_the_client_understands(base: Path) -> None:
    flags = {"type": "feature_flags", "data": {"supports_preview_metadata": True}}

    with ComfyUIEmulator(base, previews=True) as comfyui:
        plain = [m for m in await listen(comfyui.url, sampling(seed=1, steps=1)) if isinstance(m, bytes)]
        rich = [m for m in await listen(comfyui.url, sampling(seed=2, steps=1), first=flags) if isinstance(m, bytes)]

    kind, image_type = struct.unpack(">II", plain[0][:8])
    rich_kind, length = struct.unpack(">II", rich[0][:8])
    metadata = json.loads(rich[0][8 : 8 + length])
    assert (len(plain), len(rich), kind, image_type, rich_kind) == (1, 1, 1, 1, 4)
    assert Image.open(BytesIO(plain[0][8:])).format == "JPEG"
    assert Image.open(BytesIO(rich[0][8 + length :])).format == "JPEG"
    assert (metadata["node_id"], metadata["image_type"]) == ("6", "image/jpeg")


def test_a_long_sampling_is_interrupted_between_steps(base: Path) -> None:
    with ComfyUIEmulator(base, step_seconds=0.05) as comfyui:
        prompt_id = post(comfyui.url, sampling(steps=1000))
        while not requests.get(f"{comfyui.url}/queue", timeout=10).json()["queue_running"]:
            pass
        requests.post(f"{comfyui.url}/interrupt", json={"prompt_id": prompt_id}, timeout=10)
        while not (history := requests.get(f"{comfyui.url}/history/{prompt_id}", timeout=10).json()):
            pass

    assert history[prompt_id]["status"]["messages"][-1][0] == "execution_interrupted"


def test_an_upscale_model_enlarges_four_times(base: Path) -> None:
    prompt = {
        "1": node("EmptyImage", width=8, height=4, batch_size=1, color=255),
        "2": node("UpscaleModelLoader", model_name="4x.safetensors"),
        "3": node("ImageUpscaleWithModel", image=["1", 0], upscale_model=["2", 0]),
        "4": node("SaveImage", images=["3", 0], filename_prefix="large"),
    }

    with ComfyUIEmulator(base) as comfyui:
        image = saved(comfyui.url, prompt, "4")

    assert (image.size, image.getpixel((31, 15))) == ((32, 16), (0, 0, 255))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "header too small"),
        (b"<!DOCTYPE html>" * 9, "header too large"),
        (struct.pack("<Q", 900) + b"{}", "invalid header length"),
        (struct.pack("<Q", 2) + b"{}x", "incomplete metadata, file not fully covered"),
    ],
)
def test_a_corrupt_checkpoint_fails_the_prompt(base: Path, content: bytes, reason: str) -> None:
    (base / "models/checkpoints/sd.safetensors").write_bytes(content)

    with ComfyUIEmulator(base) as comfyui:
        history = run(comfyui.url, sampling())

    kind, error = history["status"]["messages"][-1]
    assert (kind, error["node_type"]) == ("execution_error", "CheckpointLoaderSimple")
    assert error["exception_message"] == f"Error while deserializing header: {reason}\n"


def test_requests_and_prompts_are_noted(base: Path) -> None:
    with ComfyUIEmulator(base) as comfyui:
        run(comfyui.url, picture())

    assert comfyui.requests[0] == "POST /prompt"
    assert [body["prompt"]["2"]["class_type"] for body in comfyui.prompts] == ["ImageInvert"]


def test_metadata_can_be_left_out(base: Path) -> None:
    with ComfyUIEmulator(base, disable_metadata=True) as comfyui:
        assert saved(comfyui.url, picture(), "3").info == {}


def test_without_a_base_directory_nothing_is_left_behind() -> None:
    with ComfyUIEmulator() as comfyui:
        run(comfyui.url, picture())
        base = comfyui.folders.base
        assert (base / "output" / "a_00001_.png").is_file()

    assert not base.exists()


def test_an_unknown_fault_is_named() -> None:
    with pytest.raises(ValueError, match="There is no fault 'typo'"):
        ComfyUIEmulator(faults=["typo"])


async def test_drop_websocket_cuts_one_connection(base: Path) -> None:
    with ComfyUIEmulator(base, faults=["drop_websocket=4"]) as comfyui:
        cut = await listen(comfyui.url, picture())
        whole = await listen(comfyui.url, picture())

    assert len(cut) == 4
    assert kinds(whole)[-1] == "executing"


async def test_drop_every_websocket_cuts_each_connection(base: Path) -> None:
    with ComfyUIEmulator(base, faults=["drop_every_websocket=2"]) as comfyui:
        heard = [await listen(comfyui.url, picture()) for _ in range(2)]

    assert [len(messages) for messages in heard] == [2, 2]


async def test_lose_success_keeps_the_end_from_the_client(base: Path) -> None:
    with ComfyUIEmulator(base, faults=["lose_success"]) as comfyui:
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{comfyui.url}/ws?clientId=me") as websocket:
            await session.post(f"{comfyui.url}/prompt", json={"prompt": picture(), "client_id": "me"})
            heard = [await websocket.receive_json(timeout=10)]
            while heard[-1] != {"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 0}}}}:
                heard.append(await websocket.receive_json(timeout=10))
            history = await (await session.get(f"{comfyui.url}/history")).json()

            with pytest.raises(TimeoutError):
                await websocket.receive_json(timeout=0.2)

    assert "execution_success" not in kinds(heard)
    assert [entry["status"]["status_str"] for entry in history.values()] == ["success"]


def test_hang_ignores_an_interrupt(base: Path) -> None:
    with ComfyUIEmulator(base, faults=["hang"]) as comfyui:
        prompt_id = post(comfyui.url, picture())
        while not requests.get(f"{comfyui.url}/queue", timeout=10).json()["queue_running"]:
            pass
        requests.post(f"{comfyui.url}/interrupt", timeout=10)
        later = post(comfyui.url, picture())
        queue = requests.get(f"{comfyui.url}/queue", timeout=10).json()

    assert [item[1] for item in queue["queue_running"] + queue["queue_pending"]] == [prompt_id, later]


def test_slow_start_refuses_connections_at_first(base: Path) -> None:
    with ComfyUIEmulator(base, start_delay=0.3) as comfyui:
        with pytest.raises(requests.ConnectionError):
            requests.get(comfyui.url, timeout=10)
        give_up = time.monotonic() + 10
        while time.monotonic() < give_up:
            try:
                page = requests.get(comfyui.url, timeout=10).text
            except requests.ConnectionError:
                continue
            break

    assert "The ComfyUI emulator" in page


def test_leaving_before_a_slow_start_is_over_is_quick(base: Path) -> None:
    began = time.monotonic()

    with ComfyUIEmulator(base, faults=["slow_start=60"]):
        pass

    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("fault", "last", "files"),
    [("crash_before", "status", 0), ("crash_during", "progress_state", 0), ("crash_after", "progress_state", 1)],
)
async def test_a_crash_ends_the_program_as_if_it_was_killed(base: Path, fault: str, last: str, files: int) -> None:
    with program(base, "--fault", fault) as (process, url):
        heard = await listen(url, picture())
        code = process.wait(10)

    assert (code, kinds(heard)[-1]) == (137, last)
    assert ("execution_start" in kinds(heard)) == (fault != "crash_before")
    assert len(outputs(base)) == files


async def test_a_crash_inside_a_test_cuts_the_connections(base: Path) -> None:
    with ComfyUIEmulator(base, faults=["crash_during=1"]) as comfyui:
        heard = await listen(comfyui.url, picture())

        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientConnectionError):
                await session.get(comfyui.url)

    assert kinds(heard)[-1] == "progress_state"


def test_oom_is_reported_as_torch_does(base: Path) -> None:
    with ComfyUIEmulator(base, faults=["oom=1"]) as comfyui:
        failed = run(comfyui.url, sampling())
        worked = run(comfyui.url, sampling())

    error = failed["status"]["messages"][-1][1]
    assert (error["node_type"], error["exception_type"]) == ("KSampler", "torch.OutOfMemoryError")
    assert error["exception_message"].startswith("Allocation on device \nThis error means you ran out of memory")
    assert worked["status"]["status_str"] == "success"


def test_view_500_fails_as_often_as_asked(base: Path) -> None:
    with ComfyUIEmulator(base, faults=["view_500=2"]) as comfyui:
        file = run(comfyui.url, picture())["outputs"]["3"]["images"][0]
        statuses = [requests.get(f"{comfyui.url}/view", params=file, timeout=10).status_code for _ in range(3)]

    assert statuses == [500, 500, 200]


def test_upload_500_fails_every_time(base: Path) -> None:
    files = {"image": ("a.png", b"data")}

    with ComfyUIEmulator(base, faults=["upload_500"]) as comfyui:
        statuses = [requests.post(f"{comfyui.url}/upload/image", files=files, timeout=10).status_code for _ in range(3)]

    assert statuses == [500, 500, 500]


def test_prompt_400_odd_body_answers_with_a_page(base: Path) -> None:
    with ComfyUIEmulator(base, faults=["prompt_400_odd_body"]) as comfyui:
        answer = requests.post(f"{comfyui.url}/prompt", json={"prompt": picture()}, timeout=10)

    assert (answer.status_code, answer.headers["Content-Type"]) == (400, "text/html; charset=utf-8")
    assert answer.text.startswith("<html>")


def test_output_vanishes_before_it_can_be_fetched(base: Path) -> None:
    with ComfyUIEmulator(base, faults=["output_vanishes"]) as comfyui:
        history = run(comfyui.url, picture())
        file = history["outputs"]["3"]["images"][0]
        status = requests.get(f"{comfyui.url}/view", params=file, timeout=10).status_code

    assert (history["status"]["status_str"], status) == ("success", 404)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_program_although_a_prompt_hangs(base: Path, number: signal.Signals) -> None:
    with program(base, "--fault", "hang") as (process, url):
        post(url, picture())
        process.send_signal(number)
        code = process.wait(5)

    assert code == 0
    assert not (base / "temp").exists()


def test_a_port_in_use_is_said(base: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "emulators.comfyui", "--base-directory", str(base), "--port", port]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)

    assert ended.returncode == 1
    assert "address already in use" in ended.stderr


def test_a_quick_test_ends_by_itself(base: Path) -> None:
    command = [sys.executable, "-m", "emulators.comfyui", "--base-directory", str(base), "--quick-test-for-ci"]

    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)

    assert ended.returncode == 0
