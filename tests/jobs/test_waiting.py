"""A job waits for the models that its workflow names, and for no others."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from comfyport.comfyui.needs import ModelFile
from comfyport.errors import ModelNotReady
from comfyport.jobs.events import Event, ModelsAwaited
from comfyport.jobs.waiting import archives_to_come, for_archives, for_models
from comfyport.status import Board


def listed(path: str, state: str, **more: Any) -> dict[str, Any]:
    directory, _, name = path.partition("/")
    return {"path": path, "directory": directory, "name": name, "state": state, "bytes": 0, "size": 8, **more}


def write(board: Board, *files: dict[str, Any], state: str = "running") -> None:
    board.write("models", {"state": state, "error": None, "bytes_per_second": 4, "files": list(files)})


async def awaited(board: Board, then: list[dict[str, Any]], *files: ModelFile) -> list[str]:
    """What `files` are first told to wait for, after which `then` is how the board stands."""
    told: list[Event] = []

    def observe(event: Event) -> None:
        told.append(event)
        write(board, *then)

    async with asyncio.timeout(10):
        await for_models(files, board, observe)
    return [path for event in told[:1] if isinstance(event, ModelsAwaited) for path in event.models]


@pytest.mark.parametrize(
    ("path", "file"),
    [
        ("checkpoints/a.ckpt", ModelFile("checkpoints", "a.ckpt")),
        ("checkpoints/sub/a.ckpt", ModelFile("checkpoints", "sub/a.ckpt")),
        ("unet/a.ckpt", ModelFile("diffusion_models", "a.ckpt")),
        ("checkpoints/a.ckpt", ModelFile("", "a.ckpt")),
        ("embeddings/hands.pt", ModelFile("embeddings", "hands")),
        # A custom node may look elsewhere than its input's name says.
        ("my_models/a.ckpt", ModelFile("checkpoints", "a.ckpt")),
    ],
)
async def test_a_file_that_is_on_its_way_is_waited_for(tmp_path: Path, path: str, file: ModelFile):
    board = Board(tmp_path)
    write(board, listed(path, "downloading"), listed("vae/other.ckpt", "downloading"))

    assert await awaited(board, [listed(path, "ready")], file) == [path]
    assert (board.read("wanted") or {})["names"] == [path.rsplit("/", 1)[-1]]


async def test_of_two_files_of_one_name_only_the_one_is_waited_for_that_the_node_looks_for(tmp_path: Path):
    board = Board(tmp_path)
    write(board, listed("diffusion_models/model.safetensors", "failed"), listed("vae/model.safetensors", "downloading"))

    waited = await awaited(board, [listed("vae/model.safetensors", "ready")], ModelFile("vae", "model.safetensors"))

    assert waited == ["vae/model.safetensors"]


async def test_a_file_of_the_same_name_that_the_node_does_not_look_for_keeps_no_job(tmp_path: Path):
    board = Board(tmp_path)
    write(board, listed("diffusion_models/model.safetensors", "downloading"), listed("vae/model.safetensors", "ready"))

    assert not await awaited(board, [], ModelFile("vae", "model.safetensors"))


async def test_where_nobody_knows_which_of_two_files_is_meant_one_that_failed_is_no_failure(tmp_path: Path):
    board = Board(tmp_path)
    one, other = "loras/model.safetensors", "vae/model.safetensors"
    write(board, listed(one, "failed"), listed(other, "downloading"))

    assert await awaited(board, [listed(one, "failed"), listed(other, "ready")], ModelFile("", "model.safetensors"))


async def test_a_file_that_failed_is_told(tmp_path: Path):
    board = Board(tmp_path)
    failed = listed("vae/a.ckpt", "failed", error={"code": "x", "message": "it is gated"})
    write(board, failed, listed("vae/b.ckpt", "downloading"))

    with pytest.raises(ModelNotReady) as error:
        await for_models([ModelFile("vae", "a.ckpt"), ModelFile("vae", "b.ckpt")], board)

    assert error.value.details["models"] == {"vae/a.ckpt": "it is gated"}


async def test_a_file_in_another_folder_of_the_same_kind_is_not_waited_for(tmp_path: Path):
    board = Board(tmp_path)
    write(board, listed("checkpoints/a.ckpt", "downloading"))

    assert not await awaited(board, [], ModelFile("checkpoints", "sub/a.ckpt"))


async def test_an_archive_that_may_hold_a_missing_file_is_waited_for(tmp_path: Path):
    board = Board(tmp_path)
    loras = listed("archives/loras.zip", "downloading", unpacked_into="loras")
    faces = listed("archives/faces.zip", "downloading", unpacked_into="insightface/models")
    write(board, loras, faces)
    told: list[Event] = []

    def observe(event: Event) -> None:
        told.append(event)
        write(board, loras | {"state": "ready"}, faces)

    assert archives_to_come(board)
    async with asyncio.timeout(10):
        await for_archives([ModelFile("loras", "cat.safetensors")], board, observe)

    assert [event.models for event in told if isinstance(event, ModelsAwaited)] == [("archives/loras.zip",)]


async def test_an_archive_that_failed_is_not_waited_for(tmp_path: Path):
    board = Board(tmp_path)
    write(board, listed("archives/loras.zip", "failed", unpacked_into="loras"), listed("vae/a.ckpt", "downloading"))

    assert not archives_to_come(board)
    async with asyncio.timeout(10):
        await for_archives([ModelFile("loras", "cat.safetensors")], board)
