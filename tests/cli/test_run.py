"""`comfyport run`: a job to an endpoint and its files back, as the real command against a real door."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image

from comfyport.cli import job_files
from comfyport.errors import UsageError
from emulators.runpod import RunPodEmulator
from tests import workflows
from tests.conftest import ROOT, TINY_CHECKPOINT, Container, free_port

START = ROOT / "src" / "start.sh"
Start = Callable[..., Container]
Command = Callable[..., "subprocess.Popen[str]"]
Ended = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def door(start: Start, tmp_path: Path) -> str:
    """The address of a door, whose key is `a-key` and whose sampler is slow."""
    checkpoints = tmp_path / "volume" / "models" / "checkpoints"
    checkpoints.mkdir(parents=True)
    (checkpoints / "a.safetensors").write_bytes(TINY_CHECKPOINT)
    port = str(free_port())
    container = start(START, PORT=port, COMFYPORT_API_KEY="a-key", COMFYUI_ARGS="--step-seconds 0.1")
    container.read_until("ComfyUI is ready")
    return f"http://127.0.0.1:{port}"


@pytest.fixture
def command() -> Iterator[Command]:
    """Starts `comfyport run`; what is left of it at the end is killed."""
    with ExitStack() as stack:

        def start_command(*arguments: str | Path, **environ: str) -> "subprocess.Popen[str]":
            process = subprocess.Popen(
                # A test run in the background ignores Ctrl-C, and its children would, too.
                ["env", "--default-signal=INT", sys.executable, "-m", "comfyport", "run", *map(str, arguments)],
                env={**os.environ, "COMFYPORT_API_KEY": "a-key", **environ},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield start_command


@pytest.fixture
def ended(command: Command) -> Ended:
    """Runs `comfyport run` to its end."""

    def run_to_the_end(*arguments: str | Path, **environ: str) -> "subprocess.CompletedProcess[str]":
        process = command(*arguments, **environ)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    return run_to_the_end


def written(folder: Path, content: Any) -> Path:
    file = folder / "workflow.json"
    file.write_text(json.dumps(content))
    return file


def test_the_pictures_of_a_job_are_saved_and_their_paths_printed(ended: Ended, door: str, tmp_path: Path):
    workflow = written(tmp_path, workflows.scaled(0x00FF00))

    first = ended(workflow, "--endpoint", door, "-o", tmp_path / "out")
    second = ended(workflow, "--endpoint", door, "-o", tmp_path / "out")

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    (file,), (other,) = first.stdout.splitlines(), second.stdout.splitlines()
    assert Path(file).parent == tmp_path / "out"
    assert Image.open(file).getpixel((0, 0)) == (0, 255, 0)
    assert Path(other).exists()
    assert other != file


def test_a_picture_and_values_reach_the_workflow(ended: Ended, door: str, tmp_path: Path):
    Image.new("RGB", (5, 4), (255, 0, 10)).save(tmp_path / "photo.png")
    workflow = written(tmp_path, workflows.inverted("absent.png"))

    result = ended(
        workflow, "-e", door, "-i", tmp_path / "photo.png", "-s", "1.image=photo.png", "-o", tmp_path / "out", "--json"
    )

    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["ok"]
    assert Image.open(document["saved"][0]).getpixel((0, 0)) == (0, 255, 245)


def test_progress_is_told_where_there_is_no_terminal(ended: Ended, door: str, tmp_path: Path):
    result = ended(written(tmp_path, workflows.sampled("a.safetensors", steps=20)), "-e", door, "-o", tmp_path / "out")

    assert result.returncode == 0, result.stderr
    assert "job " in result.stderr


def test_ctrl_c_cancels_the_job(command: Command, door: str, tmp_path: Path):
    process = command(written(tmp_path, workflows.sampled("a.safetensors", steps=500)), "-e", door, "-o", tmp_path)
    assert process.stderr is not None
    while "KSampler" not in (line := process.stderr.readline()):
        assert line, "the command ended before the job was at work"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    job_id = line.split()[1].rstrip(":")
    shown = requests.get(f"{door}/status/{job_id}", headers={"Authorization": "Bearer a-key"}, timeout=10).json()

    assert process.returncode == 130
    assert "cancelling" in said
    assert shown["status"] == "CANCELLED"


def test_a_job_that_fails_is_told_with_its_code_and_ends_with_1(ended: Ended, door: str, tmp_path: Path):
    result = ended(written(tmp_path, workflows.sampled("absent.safetensors")), "-e", door)

    assert result.returncode == 1
    assert "(workflow_rejected)" in result.stderr
    assert "absent.safetensors" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("environ", "said"),
    [({"COMFYPORT_API_KEY": "wrong"}, "set COMFYPORT_API_KEY"), ({"COMFYPORT_API_KEY": ""}, "set COMFYPORT_API_KEY")],
)
def test_a_wrong_key_is_told(ended: Ended, door: str, tmp_path: Path, environ: dict[str, str], said: str):
    result = ended(written(tmp_path, workflows.scaled()), "-e", door, **environ)

    assert result.returncode == 1
    assert said in result.stderr
    assert "wrong" not in result.stderr


@pytest.mark.parametrize("address", ["nowhere", "ftp://a", "http://", "https://user:pass@host", "modal:"])
def test_what_is_no_endpoint_is_a_usage_error(ended: Ended, tmp_path: Path, address: str):
    result = ended(written(tmp_path, workflows.scaled()), "-e", address)

    assert result.returncode == 2
    assert "pass" not in result.stderr.replace("password", "")


def test_nobody_there_is_told(ended: Ended, tmp_path: Path):
    result = ended(written(tmp_path, workflows.scaled()), "-e", f"http://127.0.0.1:{free_port()}")

    assert result.returncode == 1
    assert "cannot be reached" in result.stderr


def test_a_runpod_endpoint_is_asked_with_its_own_key_and_a_job_there_can_be_cancelled(command: Command, tmp_path: Path):
    with RunPodEmulator() as platform:
        process = command(
            written(tmp_path, workflows.scaled()),
            "-e",
            f"runpod:{platform.endpoint_id}",
            RUNPOD_API_KEY=platform.api_key,
            RUNPOD_ENDPOINT_BASE_URL=platform.base_url,
        )
        assert process.stderr is not None
        line = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        status = platform.status(line.split()[1].rstrip(":"))["status"]

    assert "waiting in the queue" in line
    assert process.returncode == 130
    assert status == "CANCELLED"


def test_runpod_without_a_key_is_a_usage_error(ended: Ended, tmp_path: Path):
    result = ended(written(tmp_path, workflows.scaled()), "-e", "runpod:abc", RUNPOD_API_KEY="")

    assert result.returncode == 2
    assert "RUNPOD_API_KEY" in result.stderr


@pytest.mark.parametrize(
    ("text", "value"),
    [("6.text=a cat", "a cat"), ("3.seed=7", 7), ("1.on=true", True), ('1.a=["2", 0]', ["2", 0]), ("1.a=b=c", "b=c")],
)
def test_a_value_is_json_or_else_text(text: str, value: Any):
    assert list(job_files.values_from([text]).values()) == [value]


@pytest.mark.parametrize("text", ["seed", "seed=7", "=7"])
def test_a_value_without_a_node_and_an_input_is_refused(text: str):
    with pytest.raises(UsageError, match="--set"):
        job_files.values_from([text])


@pytest.mark.parametrize("name", ["../../escaped.png", "/etc/escaped.png", "..\\escaped.png", "escaped.png"])
def test_a_name_from_the_endpoint_cannot_leave_the_folder(tmp_path: Path, name: str):
    item = {"filename": name, "type": "base64", "data": "aGk="}

    saved = job_files.save({"images": [item]}, tmp_path / "out")

    assert saved == [str(tmp_path / "out" / "escaped.png")]


def test_a_job_file_may_stand_in_the_place_of_a_workflow(tmp_path: Path):
    job = {"input": {"workflow": workflows.scaled(), "timeout": 5}}

    assert job_files.read_workflow(written(tmp_path, job)) == job["input"]


@pytest.mark.parametrize("content", [[], {"nodes": [], "links": []}, "text"])
def test_what_is_no_workflow_is_refused(tmp_path: Path, content: Any):
    with pytest.raises(UsageError):
        job_files.read_workflow(written(tmp_path, content))
