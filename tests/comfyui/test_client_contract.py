"""ComfyUI's API as the client uses it, the same with the emulator and with a real ComfyUI (COMFYUI_DIR)."""

import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import requests

from comfyport.comfyui.client import Client, Picture, StoredFile
from comfyport.comfyui.execution import Listener, ended
from comfyport.errors import ComfyUIRefused, ComfyUIUnreachable, JobLost, WorkflowRejected
from comfyport.serve.host import Host
from tests import workflows
from tests.conftest import free_port


@asynccontextmanager
async def client_of(url: str) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session:
        yield Client(url, session)


async def uploaded(client: Client, name: str, content: bytes, folder: Path) -> StoredFile:
    file = folder / "to-upload"
    file.write_bytes(content)
    return await client.upload(name, file)


async def downloaded(client: Client, file: StoredFile, folder: Path) -> bytes:
    await client.download(file, folder / "downloaded")
    return (folder / "downloaded").read_bytes()


async def finished(client: Client, workflow: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    messages: list[dict[str, Any]] = []
    client_id = uuid.uuid4().hex

    def hear(message: dict[str, Any] | Picture) -> None:
        if not isinstance(message, Picture):
            messages.append(message)

    async with Listener(client, client_id, hear) as listener:
        prompt_id = (await client.submit(workflow, client_id=client_id, extra_data={})).prompt_id
        return await ended(client, listener, prompt_id), messages


async def test_answers(host: Host):
    async with client_of(host.worker.url) as client:
        assert await client.answers()


async def test_a_prompt_ends_with_its_outputs_in_the_history(host: Host):
    async with client_of(host.worker.url) as client:
        entry, _ = await finished(client, workflows.scaled(77, "history"))

    (image,) = entry["outputs"]["3"]["images"]
    assert image["filename"].startswith("history_")
    assert (image["subfolder"], image["type"]) == ("", "output")
    assert entry["status"]["status_str"] == "success"


async def test_the_messages_come_in_comfyuis_order(host: Host):
    async with client_of(host.worker.url) as client:
        _, messages = await finished(client, workflows.scaled(78))

    order = [message["type"] for message in messages if message["type"] not in ("status", "progress_state")]
    assert order[:2] == ["execution_start", "execution_cached"]
    assert [message["data"]["node"] for message in messages if message["type"] == "executed"] == ["3"]
    assert order.index("executed") < order.index("execution_success")


async def test_an_output_can_be_downloaded(host: Host, tmp_path: Path):
    async with client_of(host.worker.url) as client:
        entry, _ = await finished(client, workflows.scaled(79, "sub/folder/view"))
        (image,) = entry["outputs"]["3"]["images"]
        content = await downloaded(client, StoredFile(**image), tmp_path)

    assert image["subfolder"] == "sub/folder"
    assert content.startswith(b"\x89PNG")


async def test_an_output_that_is_not_there_is_refused(host: Host, tmp_path: Path):
    async with client_of(host.worker.url) as client:
        with pytest.raises(ComfyUIRefused) as refused:
            await downloaded(client, StoredFile("none.png", "", "output"), tmp_path)

    assert refused.value.details["status"] == 404


async def test_an_upload_replaces_the_file_of_the_same_name(host: Host, tmp_path: Path):
    async with client_of(host.worker.url) as client:
        first = await uploaded(client, "same.png", b"first", tmp_path)
        second = await uploaded(client, "same.png", b"second", tmp_path)
        content = await downloaded(client, second, tmp_path)

    assert first == second == StoredFile("same.png", "", "input")
    assert content == b"second"


async def test_an_upload_keeps_its_name_to_the_letter(host: Host, tmp_path: Path):
    async with client_of(host.worker.url) as client:
        stored = await uploaded(client, "Größe 1 (a)%20.png", b"x", tmp_path)

    assert stored.filename == "Größe 1 (a)%20.png"


async def test_an_upload_cannot_leave_the_input_folder(host: Host, tmp_path: Path):
    async with client_of(host.worker.url) as client:
        with pytest.raises(ComfyUIRefused):
            await uploaded(client, "../../escaped.png", b"x", tmp_path)


@pytest.mark.parametrize(
    ("workflow", "kind"),
    [
        ({"1": workflows.node("NoSuchNode")}, None),
        (workflows.scaled() | {"2": workflows.node("ImageScale", image=["1", 0])}, "required_input_missing"),
        (
            workflows.scaled() | {"1": workflows.node("EmptyImage", width=0, height=8, batch_size=1, color=0)},
            "value_smaller_than_min",
        ),
        (workflows.inverted("absent.png"), "custom_validation_failed"),
        (workflows.sampled("absent.safetensors"), "value_not_in_list"),
    ],
)
async def test_a_workflow_that_is_not_valid_is_refused_in_comfyuis_terms(
    host: Host, workflow: dict[str, Any], kind: str | None
):
    async with client_of(host.worker.url) as client:
        with pytest.raises(WorkflowRejected) as refused:
            await client.submit(workflow, client_id="a", extra_data={})

    errors = [error for node in refused.value.details["node_errors"].values() for error in node["errors"]]
    assert {error["type"] for error in errors} == ({kind} if kind else set())


async def test_a_prompt_that_nobody_knows_is_lost(host: Host):
    async with client_of(host.worker.url) as client, Listener(client, "lost", lambda message: None) as listener:
        with pytest.raises(JobLost):
            await ended(client, listener, str(uuid.uuid4()))


async def test_cancelling_what_is_not_there_does_nothing(host: Host):
    async with client_of(host.worker.url) as client:
        await client.cancel(str(uuid.uuid4()))
        entry, _ = await finished(client, workflows.scaled(80))

    assert entry["status"]["completed"]


async def test_nobody_listening_is_a_clear_error():
    async with client_of(f"http://127.0.0.1:{free_port()}") as client:
        assert not await client.answers()
        with pytest.raises(ComfyUIUnreachable, match="not reachable"):
            await client.history("a")


def test_every_folder_of_the_volume_is_seen_whatever_its_name(host: Host):
    folder = host.worker.volume.models / "checkpoints" / "deep"
    folder.mkdir(exist_ok=True)
    (folder / "late.safetensors").touch()

    listed = requests.get(f"{host.worker.url}/models/checkpoints", timeout=10).json()

    assert "deep/late.safetensors" in listed


@pytest.fixture(autouse=True)
def _keep_the_volume_as_it_was(host: Host) -> Iterator[None]:
    yield
    late: Path = host.worker.volume.models / "checkpoints" / "deep" / "late.safetensors"
    late.unlink(missing_ok=True)
