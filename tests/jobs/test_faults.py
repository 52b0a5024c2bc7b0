"""What a job's answer is when ComfyUI misbehaves; the emulator plays every part."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import requests

from comfyport.comfyui.progress import Progress
from comfyport.errors import InvalidSetting
from comfyport.jobs.events import Event
from comfyport.serve import logs
from comfyport.serve.host import Host
from comfyport.settings import Settings
from emulators.comfyui import ComfyUIEmulator
from tests import workflows
from tests.conftest import TINY_CHECKPOINT, container_environ, png, run, running_host


@contextmanager
def worker(tmp_path: Path, arguments: str = "", **environ: str) -> Iterator[Host]:
    checkpoints = tmp_path / "volume" / "models" / "checkpoints"
    checkpoints.mkdir(parents=True)
    (checkpoints / "a.safetensors").write_bytes(TINY_CHECKPOINT)
    with running_host(tmp_path, COMFYUI_ARGS=arguments, **environ) as host:
        yield host


def slow(steps: int = 200) -> dict[str, Any]:
    return {"workflow": workflows.sampled("a.safetensors", steps=steps)}


def quick(colour: int = 1) -> dict[str, Any]:
    return {"workflow": workflows.scaled(colour)}


async def killed_under(host: Host) -> dict[str, Any]:
    """The answer to a job under which ComfyUI is killed."""
    running = await begun(host, slow())
    kill(host)
    return await running


@pytest.mark.parametrize("fault", ["drop_websocket=1", "drop_every_websocket=2", "lose_success"])
def test_a_lost_message_loses_no_job(tmp_path: Path, fault: str):
    with worker(tmp_path, f"--fault {fault}") as host:
        answer = run(host, quick())

    assert "images" in answer


def test_a_job_is_stopped_at_its_deadline_and_the_next_one_runs(tmp_path: Path):
    with worker(tmp_path, "--step-seconds 0.1") as host:
        started = time.monotonic()
        stopped = run(host, slow() | {"timeout": 0.5})
        following = run(host, quick())
        seconds = time.monotonic() - started

    assert stopped["error_code"] == "job_timed_out"
    assert "images" in following
    assert seconds < 5


async def begun(host: Host, job_input: dict[str, Any]) -> "asyncio.Task[dict[str, Any]]":
    """A job that is at work now."""
    started = asyncio.Event()
    loop = asyncio.get_running_loop()

    def observe(event: Event) -> None:
        if isinstance(event, Progress) and event.step:
            loop.call_soon_threadsafe(started.set)

    running = asyncio.create_task(host.run({"id": "watched", "input": job_input}, observe))
    await started.wait()
    return running


async def queued(host: Host, count: int) -> None:
    """Returns when so many prompts run or wait in ComfyUI."""
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"{host.worker.url}/queue") as response:
                queue = await response.json()
            if len(queue["queue_running"]) + len(queue["queue_pending"]) >= count:
                return


def kill(host: Host) -> float:
    """Kills ComfyUI; when that was."""
    os.kill(host.worker.comfyui.health.pid or 0, signal.SIGKILL)
    return time.monotonic()


def test_cancelling_takes_the_job_out_of_comfyui(tmp_path: Path):
    async def cancel_and_go_on(host: Host) -> dict[str, Any]:
        running = await begun(host, slow())
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        async with asyncio.timeout(5):
            return await host.run({"input": quick()})

    with worker(tmp_path, "--step-seconds 0.1") as host:
        answer = asyncio.run(cancel_and_go_on(host))

    assert "images" in answer


def test_cancelling_a_job_that_waits_leaves_the_one_that_runs_alone(tmp_path: Path):
    async def cancel_the_second(host: Host) -> dict[str, Any]:
        running = await begun(host, slow(30))
        waiting = asyncio.create_task(host.run({"input": quick()}))
        await queued(host, 2)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        return await running

    with worker(tmp_path, "--step-seconds 0.1") as host:
        answer = asyncio.run(cancel_the_second(host))

    assert "images" in answer


def test_a_job_that_comes_while_comfyui_starts_waits_for_it(tmp_path: Path):
    whole = container_environ(tmp_path, COMFYUI_ARGS="--fault slow_start=2")
    host = Host(Settings.load(whole), whole)
    host.start()
    try:
        answer = run(host, quick())
    finally:
        host.stop()

    assert "images" in answer
    assert answer["timings"]["wait_comfyui"] > 0


def test_comfyui_killed_under_a_job_fails_that_job_at_once_and_is_back_for_the_next(tmp_path: Path):
    async def kill_and_go_on(host: Host) -> tuple[dict[str, Any], float, dict[str, Any]]:
        running = await begun(host, slow())
        killed_at = kill(host)
        failed = await running
        return failed, time.monotonic() - killed_at, await host.run({"input": quick()})

    with worker(tmp_path, "--step-seconds 0.1") as host:
        failed, seconds, following = asyncio.run(kill_and_go_on(host))

    assert failed["error_code"] == "comfyui_died"
    assert "SIGKILL" in failed["error"]
    assert any("got prompt" in line for line in failed["details"]["log"])
    assert seconds < 3
    assert "images" in following


def test_a_job_that_had_not_begun_when_comfyui_was_killed_is_run_again(tmp_path: Path):
    async def kill_before_the_second(host: Host) -> list[dict[str, Any]]:
        running = await begun(host, slow())
        waiting = asyncio.create_task(host.run({"input": quick()}))
        await queued(host, 2)
        kill(host)
        return await asyncio.gather(running, waiting)

    with worker(tmp_path, "--step-seconds 0.1") as host:
        first, second = asyncio.run(kill_before_the_second(host))

    assert first["error_code"] == "comfyui_died"
    assert "images" in second


def test_a_comfyui_that_does_not_let_go_of_a_cancelled_job_is_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    with worker(tmp_path, "--fault hang", CANCEL_SECONDS="1") as host:
        stopped = run(host, quick() | {"timeout": 1})
        run(host, quick() | {"timeout": 8})
        health = host.worker.comfyui.health

    assert stopped["error_code"] == "job_timed_out"
    assert health.restarts
    assert "ComfyUI ended: it did not let go of a cancelled job within 1 s" in caplog.text


def test_a_comfyui_whose_process_stands_still_is_replaced_when_its_job_is_over(tmp_path: Path):
    async def stop_and_go_on(host: Host) -> tuple[dict[str, Any], dict[str, Any]]:
        running = await begun(host, slow() | {"timeout": 2})
        os.kill(host.worker.comfyui.health.pid or 0, signal.SIGSTOP)
        stopped = await running
        while not host.worker.comfyui.health.restarts:
            await asyncio.sleep(0.05)
        return stopped, await host.run({"input": quick()})

    with worker(tmp_path, "--step-seconds 0.1", CANCEL_SECONDS="1") as host:
        stopped, following = asyncio.run(stop_and_go_on(host))

    assert stopped["error_code"] == "job_timed_out"
    assert "images" in following


def test_a_job_that_goes_well_ends_a_row_of_deaths(tmp_path: Path):
    with worker(tmp_path, "--step-seconds 0.1") as host:
        for _ in range(2):
            asyncio.run(killed_under(host))
        well = run(host, quick())
        failed = asyncio.run(killed_under(host))

    assert "refresh_worker" not in well
    assert failed["error_code"] == "comfyui_died"
    assert "refresh_worker" not in failed


def test_odd_words_about_nodes_and_their_progress_fail_no_job(tmp_path: Path):
    workflow = workflows.scaled(3)
    for node, meta in zip(workflow.values(), ("a note", ["a"], {"title": 7}), strict=True):
        node["_meta"] = meta
    with worker(tmp_path) as host:
        answer = run(host, {"workflow": workflow})

    assert "images" in answer


def test_a_websocket_that_drops_under_a_job_at_work_loses_neither_the_job_nor_its_progress(tmp_path: Path):
    seen: list[int] = []
    with worker(tmp_path, "--step-seconds 0.05 --fault drop_websocket=6") as host:
        answer = asyncio.run(
            host.run({"input": slow(40)}, lambda event: isinstance(event, Progress) and seen.append(event.step))
        )

    assert "images" in answer
    assert max(seen) > 20


def test_a_worker_whose_comfyui_dies_again_and_again_asks_to_be_replaced(tmp_path: Path):
    with worker(tmp_path, "--fault crash_during") as host:
        answers = [run(host, quick(colour)) for colour in range(3)]

    assert [answer.get("refresh_worker", False) for answer in answers] == [False, False, True]


def test_each_answer_asks_for_a_fresh_worker_where_that_is_wanted(tmp_path: Path):
    with worker(tmp_path, REFRESH_WORKER="true") as host:
        answer = run(host, quick())

    assert answer["refresh_worker"] is True


@pytest.mark.parametrize("fault", ["crash_before", "crash_during", "crash_after"])
def test_comfyui_that_dies_of_a_job_fails_it_with_its_last_lines(tmp_path: Path, fault: str):
    with worker(tmp_path, f"--fault {fault}") as host:
        answer = run(host, quick())

    assert answer["error_code"] == "comfyui_died"


def test_a_hung_comfyui_is_left_at_the_deadline(tmp_path: Path):
    with worker(tmp_path, "--fault hang") as host:
        answer = run(host, quick() | {"timeout": 1})

    assert answer["error_code"] == "job_timed_out"


def test_running_out_of_memory_is_told_as_comfyui_tells_it(tmp_path: Path):
    with worker(tmp_path, "--fault oom=1") as host:
        failed, following = run(host, slow(1)), run(host, quick())

    assert failed["error_code"] == "execution_failed"
    assert "OutOfMemory" in failed["details"]["exception_type"]
    assert "images" in following


@pytest.mark.parametrize(
    ("fault", "code"),
    [("output_vanishes", "output_failed"), ("prompt_400_odd_body", "workflow_rejected")],
)
def test_an_odd_answer_of_comfyui_is_a_failed_job(tmp_path: Path, fault: str, code: str):
    with worker(tmp_path, f"--fault {fault}") as host:
        answer = run(host, quick())

    assert answer["error_code"] == code


@pytest.mark.parametrize(("fault", "code"), [("view_500", "output_failed"), ("upload_500", "input_failed")])
def test_a_file_that_a_comfyui_elsewhere_does_not_give_or_take_is_a_failed_job(tmp_path: Path, fault: str, code: str):
    job = quick() | {"images": [{"name": "a.png", "image": png((2, 2), (0, 0, 0))}]}
    with (
        ComfyUIEmulator(tmp_path / "elsewhere", faults=[fault]) as comfyui,
        running_host(tmp_path, COMFYUI_URL=comfyui.url) as host,
    ):
        answer = run(host, job)

    assert answer["error_code"] == code


def test_a_comfyui_that_runs_already_is_used(tmp_path: Path):
    with ComfyUIEmulator(tmp_path / "elsewhere") as comfyui, running_host(tmp_path, COMFYUI_URL=comfyui.url) as host:
        answer = run(host, quick())

    assert "images" in answer


def test_a_comfyui_elsewhere_that_is_gone_is_a_clear_error(tmp_path: Path):
    with ComfyUIEmulator(tmp_path / "elsewhere") as comfyui:
        pass
    environ = {"COMFYUI_URL": comfyui.url, "JOB_TIMEOUT": "1"}

    with pytest.raises(TimeoutError), running_host(tmp_path, ready_within=1.0, **environ):
        pass


def test_a_job_waits_for_its_own_model_and_for_no_other(tmp_path: Path):
    with worker(tmp_path) as host:
        board = host.worker.board
        waiting = {"path": "checkpoints/b", "directory": "checkpoints", "name": "b", "state": "downloading"}
        ready = {"path": "checkpoints/a.safetensors", "directory": "checkpoints", "name": "a.safetensors"}
        board.write("models", {"state": "running", "error": None, "files": [waiting, ready | {"state": "ready"}]})

        answer = run(host, slow(1))

    assert "images" in answer


def test_a_job_whose_model_could_not_be_downloaded_fails_with_the_reason(tmp_path: Path):
    with worker(tmp_path) as host:
        failed = {
            "path": "checkpoints/a.safetensors",
            "directory": "checkpoints",
            "name": "a.safetensors",
            "state": "failed",
            "error": {"code": "source_failed", "message": "it is gated"},
        }
        host.worker.board.write("models", {"state": "failed", "error": None, "files": [failed]})

        answer = run(host, slow(1))

    assert answer["error_code"] == "model_not_ready"
    assert "it is gated" in answer["error"]


def test_secrets_are_kept_from_comfyui_but_for_those_that_are_named(tmp_path: Path):
    secrets = {"HF_TOKEN": "hf_a", "CIVITAI_TOKEN": "civitai_a", "COMFYPORT_API_KEY": "key_a", "OTHER": "seen"}
    with worker(tmp_path, COMFYUI_SECRETS="CIVITAI_TOKEN", **secrets) as host:
        environ = Path(f"/proc/{host.worker.comfyui.health.pid}/environ").read_text().split("\0")

    seen = {line.partition("=")[0] for line in environ}
    assert seen & {*secrets} == {"CIVITAI_TOKEN", "OTHER"}


def test_the_warm_up_runs_before_the_worker_is_ready(tmp_path: Path):
    workflow = tmp_path / "warm.json"
    workflow.write_text(json.dumps(workflows.scaled(5)))
    with worker(tmp_path, WARMUP_WORKFLOW=str(workflow)) as host:
        seconds = (host.worker.board.read("start") or {})["seconds"]
        history = requests.get(f"{host.worker.url}/history", timeout=10).json()

    assert len(history) == 1
    assert sorted(seconds, key=seconds.__getitem__)[-2:] == ["warm_up", "ready"]
    assert seconds.keys() == {"comfyui", "models", "warm_up", "ready"}


def test_a_warm_up_that_fails_is_told_and_jobs_are_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    workflow = tmp_path / "warm.json"
    workflow.write_text(json.dumps(workflows.sampled("absent.safetensors")))
    with worker(tmp_path, WARMUP_WORKFLOW=str(workflow)) as host:
        answer = run(host, quick())

    assert "images" in answer
    assert "the warm-up failed" in caplog.text


def test_a_warm_up_that_is_no_workflow_keeps_the_worker_from_starting(tmp_path: Path):
    file = tmp_path / "warm.json"
    file.write_text("{")

    with pytest.raises(InvalidSetting, match="WARMUP_WORKFLOW"), worker(tmp_path, WARMUP_WORKFLOW=str(file)):
        pass


def test_the_lines_about_a_job_carry_its_id(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO")
    caplog.handler.addFilter(logs.name_job)
    with worker(tmp_path) as host:
        asyncio.run(host.run({"id": "seven\n", "input": quick()}))

    (record,) = [record for record in caplog.records if record.getMessage().startswith("job done")]
    assert record.__dict__["job"] == " job=seven"


def test_nothing_secret_stands_on_the_board(tmp_path: Path):
    with worker(tmp_path, HF_TOKEN="hf_secret", COMFYPORT_API_KEY="key_secret") as host:
        run(host, quick())
        shown = json.dumps(host.worker.board.read_all())

    assert "secret" not in shown
