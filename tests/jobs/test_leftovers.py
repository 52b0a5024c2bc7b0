"""What is left on the container's disk after jobs, and that ComfyUI's cache never names a file in vain."""

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from comfyport.comfyui.client import StoredFile
from comfyport.comfyui.storage import LocalStorage, RemoteStorage
from comfyport.jobs.leftovers import Leftovers, nodes_cached
from comfyport.jobs.reports import Report
from comfyport.serve.host import Host
from tests import workflows
from tests.conftest import TINY_CHECKPOINT, installations, picture, run, running_host
from tests.workflows import node

COLOURS = {"A": 0xFF0000, "B": 0x00FF00, "C": 0x0000FF}


@pytest.fixture(params=installations())
def comfyui(request: pytest.FixtureRequest) -> Path:
    return request.param


@contextmanager
def worker(tmp_path: Path, comfyui: Path | None = None, arguments: str = "") -> Iterator[Host]:
    checkpoints = tmp_path / "volume" / "models" / "checkpoints"
    checkpoints.mkdir(parents=True, exist_ok=True)
    (checkpoints / "a.safetensors").write_bytes(TINY_CHECKPOINT)
    where = (comfyui,) if comfyui else ()
    with running_host(tmp_path, *where, COMFYUI_ARGS=arguments) as host:
        yield host


def left(host: Host) -> list[str]:
    """The files in ComfyUI's output and temp folders."""
    base = host.worker.settings.run_folder / "comfyui"
    folders = (base / "output", base / "temp")
    return sorted(str(path.relative_to(base)) for folder in folders for path in folder.rglob("*") if path.is_file())


def coloured(name: str) -> dict[str, Any]:
    return {"workflow": workflows.scaled(COLOURS[name], prefix=f"{name}/{name}")}


def colour(answer: dict[str, Any]) -> int:
    assert "images" in answer, answer
    red, green, blue = picture(answer["images"][0]).getpixel((0, 0))
    return int(red << 16 | green << 8 | blue)


@pytest.mark.parametrize("arguments", ["", "--cache-lru 1", "--cache-lru=7", "--cache-none"])
def test_a_cache_is_never_told_a_lie(tmp_path: Path, comfyui: Path, arguments: str):
    jobs = "AABBACABBBBAABCA"

    with worker(tmp_path, comfyui, arguments) as host:
        answers = [run(host, coloured(name)) for name in jobs]

    assert [colour(answer) for answer in answers] == [COLOURS[name] for name in jobs]


def test_the_same_job_again_is_answered_from_the_cache(tmp_path: Path, comfyui: Path):
    with worker(tmp_path, comfyui) as host:
        first, again = run(host, coloured("A")), run(host, coloured("A"))

    assert first["images"] == again["images"]


def test_only_what_the_cache_names_is_left(tmp_path: Path, comfyui: Path):
    with worker(tmp_path, comfyui) as host:
        seen = []
        for name in "AABA":
            run(host, coloured(name))
            seen.append([file.split("_")[0] for file in left(host)])

    assert seen == [["output/A/A"], ["output/A/A"], ["output/B/B"], ["output/A/A"]]
    assert left(host) == []


def test_without_a_cache_nothing_is_left(tmp_path: Path, comfyui: Path):
    with worker(tmp_path, comfyui, "--cache-none") as host:
        run(host, coloured("A"))

        assert left(host) == []


def test_temporary_files_go_too(tmp_path: Path, comfyui: Path):
    workflow = workflows.scaled() | {"3": node("PreviewImage", images=["2", 0])}

    with worker(tmp_path, comfyui) as host:
        run(host, {"workflow": workflow})

        assert left(host) == []


def test_a_file_that_the_cache_names_and_that_is_gone_is_made_again(tmp_path: Path, comfyui: Path):
    video = {
        "4": node("CreateVideo", images=["2", 0], fps=8.0),
        "5": node("SaveVideo", video=["4", 0], filename_prefix="v", format="auto", codec="auto"),
    }
    job = {"workflow": workflows.scaled() | video}
    with worker(tmp_path, comfyui) as host:
        first = run(host, job)
        for file in left(host):
            (host.worker.settings.run_folder / "comfyui" / file).unlink()
        again = run(host, job)

    assert [item["media_type"] for item in again["images"]] == ["image/png", "video/mp4"]
    assert colour(first) == colour(again)


def test_a_failed_jobs_files_go_and_the_next_try_has_them(tmp_path: Path):
    workflow = {
        "1": node("EmptyImage", width=16, height=16, batch_size=1, color=0xFF),
        "2": node("SaveImage", images=["1", 0], filename_prefix="first"),
        "3": node("ImageInvert", image=["1", 0]),
        "4": node("SaveImage", images=["3", 0], filename_prefix="second"),
    }
    with worker(tmp_path, arguments="--fault oom=1") as host:
        failed = run(host, {"workflow": workflow})
        left_by_failure = left(host)
        again = run(host, {"workflow": workflow})

    assert failed["error_code"] == "execution_failed"
    assert left_by_failure == []
    assert [item["node_id"] for item in again["images"]] == ["2", "4"]


def slow() -> dict[str, Any]:
    """Saves a picture at once, and goes on for a minute."""
    return {"0": node("EmptyImage", width=8, height=8, batch_size=1, color=7)} | {
        "00": node("SaveImage", images=["0", 0], filename_prefix="early"),
        **workflows.sampled("a.safetensors", steps=600),
    }


def test_a_timed_out_jobs_files_go(tmp_path: Path):
    with worker(tmp_path, arguments="--step-seconds 0.1") as host:
        stopped = run(host, {"workflow": slow(), "timeout": 1})

        assert stopped["error_code"] == "job_timed_out"
        assert left(host) == []


def test_a_cancelled_jobs_files_go(tmp_path: Path):
    async def cancel_once_it_has_saved(host: Host) -> None:
        running = asyncio.create_task(host.run({"input": {"workflow": slow()}}))
        while not left(host):
            await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    with worker(tmp_path, arguments="--step-seconds 0.1") as host:
        asyncio.run(cancel_once_it_has_saved(host))
        run(host, {"workflow": {"1": node("PreviewAny", source="next")}})

        # Whoever cancels does not wait until ComfyUI has let go of the job; its files go then.
        while left(host):
            time.sleep(0.01)


def test_what_a_killed_worker_left_is_gone_after_the_next_start(tmp_path: Path):
    for folder in ("output/a", "temp"):
        (tmp_path / "run" / "comfyui" / folder).mkdir(parents=True)
        (tmp_path / "run" / "comfyui" / folder / "old.png").write_bytes(b"old")

    with worker(tmp_path) as host:
        assert left(host) == []


def test_files_that_a_node_does_not_report_go_too(tmp_path: Path):
    settings = {"frame_rate": 8.0, "loop_count": 0, "format": "image/gif", "pingpong": False, "save_output": True}
    workflow = {
        "1": node("EmptyImage", width=16, height=16, batch_size=2, color=0xFF),
        "2": node("VHS_VideoCombine", images=["1", 0], filename_prefix="v", **settings),
    }
    with worker(tmp_path, arguments="--cache-none") as host:
        answer = run(host, {"workflow": workflow})

        assert [item["filename"] for item in answer["videos"]] == ["v_00001.gif"]
        assert left(host) == []


def test_the_disk_does_not_grow(tmp_path: Path, comfyui: Path):
    with worker(tmp_path, comfyui) as host:
        counts = {len(left(host)) for number in range(20) if run(host, {"workflow": workflows.scaled(number)})}

    assert counts == {1}


def saved(folder: Path, name: str) -> Report:
    path = folder / "output" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return Report("images", name, StoredFile(path.name, "", "output"))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "output").rglob("*") if path.is_file())


def test_a_job_that_still_runs_keeps_what_it_has_written(tmp_path: Path):
    leftovers = Leftovers(LocalStorage(tmp_path), None)

    with leftovers.after_job():
        with leftovers.after_job():
            saved(tmp_path, "a.png")
        during = names(tmp_path)

    assert (during, names(tmp_path)) == (["a.png"], [])


def test_a_job_that_is_delivering_keeps_what_another_wrote_before_it(tmp_path: Path):
    leftovers = Leftovers(LocalStorage(tmp_path), None)
    old = saved(tmp_path, "old.png")
    wait_for_the_clock(tmp_path)

    with leftovers.after_job() as hold:
        hold((old,))
        with leftovers.after_job():
            pass
        during = names(tmp_path)

    assert (during, names(tmp_path)) == (["old.png"], [])


def test_files_from_before_the_oldest_running_job_go_while_it_runs(tmp_path: Path):
    leftovers = Leftovers(LocalStorage(tmp_path), 0)
    saved(tmp_path, "old.png")
    os.utime(tmp_path / "output" / "old.png", (2**31, 2**31))
    wait_for_the_clock(tmp_path)

    with leftovers.after_job():
        with leftovers.after_job():
            saved(tmp_path, "new.png")
        assert names(tmp_path) == ["new.png"]


def wait_for_the_clock(folder: Path) -> None:
    """Until the files that are there are older than a tick of the kernel's clock."""
    newest = max(path.stat().st_ctime for path in (folder / "output").iterdir())
    while time.time() < newest + 0.2:
        time.sleep(0.01)


def test_an_lru_cache_names_files_of_as_many_nodes(tmp_path: Path):
    leftovers = Leftovers(LocalStorage(tmp_path), 2)

    for name in ("a", "b", "b", "b", "b", "c"):
        with leftovers.after_job() as hold:
            hold((saved(tmp_path, name),))
    three = names(tmp_path)
    with leftovers.after_job() as hold:
        hold((saved(tmp_path, "d"),))

    assert (three, names(tmp_path)) == (["a", "b", "c"], ["b", "c", "d"])


def test_models_that_a_workflow_saved_stay_for_later_ones(tmp_path: Path):
    for name in ("loras/mine.safetensors", "checkpoints/deep/mine.safetensors", "other/mine.safetensors"):
        saved(tmp_path, name)

    Leftovers(LocalStorage(tmp_path), 0).sweep()

    left_over = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.safetensors"))
    assert left_over == ["output/checkpoints/deep/mine.safetensors", "output/loras/mine.safetensors"]
    assert not (tmp_path / "output" / "other").exists()


def test_an_output_folder_that_leads_elsewhere_is_left_alone(tmp_path: Path):
    saved(tmp_path / "elsewhere", "a.png")
    (tmp_path / "output").symlink_to(tmp_path / "elsewhere" / "output")

    Leftovers(LocalStorage(tmp_path), 0).clear()

    assert (tmp_path / "elsewhere" / "output" / "a.png").exists()


def test_copies_of_what_a_comfyui_elsewhere_made_go_with_the_job(tmp_path: Path):
    (tmp_path / "copies").mkdir()
    leftovers = Leftovers(RemoteStorage(None, tmp_path / "copies"), 0)  # type: ignore[arg-type]

    with leftovers.after_job():
        (tmp_path / "copies" / "a").write_bytes(b"a")

    assert list((tmp_path / "copies").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "nodes"),
    [
        ((), 0),
        (("--cache-classic",), 0),
        (("--cache-none",), None),
        (("--cache-lru", "20"), 20),
        (("--cache-lru=20", "--lowvram"), 20),
        (("--cache-lru",), 100),
        (("--cache-ram", "4.0"), 100),
    ],
)
def test_the_cache_is_read_from_comfyuis_arguments(arguments: tuple[str, ...], nodes: int | None):
    assert nodes_cached(arguments) == nodes
