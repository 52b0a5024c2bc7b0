"""A whole worker and a model that is not there: what it says, what it waits for, what it finds later."""

import asyncio
from pathlib import Path
from typing import Any

from comfyport.jobs.events import Event, ModelsAwaited
from comfyport.serve.host import Host
from emulators.hub import weights
from tests import workflows
from tests.conftest import run, running_host, write_lock

UPSCALERS = "volume/models/upscale_models"


def test_a_model_of_another_group_of_the_lock_is_told(tmp_path: Path):
    sources = [{"type": "url", "url": "http://127.0.0.1:9/a"}]
    other = {"directory": "upscale_models", "name": "4x.pth", "groups": ["large"], "sources": sources}
    write_lock(tmp_path / "models.lock.json", other)
    with running_host(tmp_path) as host:
        answer = run(host, {"workflow": workflows.upscaled("4x.pth")})

    assert answer["error_code"] == "workflow_rejected"
    assert "It is in the lock as upscale_models/4x.pth, in the group large" in answer["error"]


def test_a_model_that_comes_while_comfyui_runs_is_used(host: Host):
    name = "late.safetensors"
    refused = run(host, {"workflow": workflows.upscaled(name)})
    (host.worker.volume.models / "upscale_models" / name).write_bytes(weights.upscaler())

    answer = run(host, {"workflow": workflows.upscaled(name)})

    assert refused["error_code"] == "workflow_rejected"
    assert "images" in answer


def test_a_model_in_an_archive_that_is_on_its_way_is_waited_for(tmp_path: Path):
    archive: dict[str, Any] = {
        "path": "archives/all.zip", "directory": "archives", "name": "all.zip", "unpacked_into": "upscale_models"
    }  # fmt: skip
    told: list[Event] = []
    with running_host(tmp_path, DOWNLOAD_MODELS_ON_STARTUP="false") as host:
        board = host.worker.board
        board.write("models", {"state": "running", "error": None, "files": [archive | {"state": "downloading"}]})

        def observe(event: Event) -> None:
            if isinstance(event, ModelsAwaited) and not told:
                told.append(event)
                (tmp_path / UPSCALERS).mkdir(parents=True, exist_ok=True)
                (tmp_path / UPSCALERS / "member.safetensors").write_bytes(weights.upscaler())
                board.write("models", {"state": "done", "error": None, "files": [archive | {"state": "ready"}]})

        job = {"input": {"workflow": workflows.upscaled("member.safetensors")}}
        answer = asyncio.run(host.run(job, observe))

    assert told
    assert "images" in answer
