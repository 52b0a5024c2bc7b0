"""Waits for the models that a workflow names, as the status board tells of them, and for no others."""

import asyncio
from typing import Any

from comfyport.errors import ModelNotReady
from comfyport.jobs.events import ModelsAwaited, Observer, unobserved
from comfyport.status import Board

POLL_SECONDS = 0.1


async def for_models(names: set[str], board: Board, observe: Observer = unobserved) -> None:
    """Returns when every file of `names` that is being downloaded is there; asks the downloader to bring them first.

    Files that the downloader knows nothing of are ComfyUI's to judge. Raises ModelNotReady for those that failed.
    """
    asked = False
    while True:
        section = board.read("models")
        if section is None:
            return
        needed = [file for file in section["files"] if file["name"].rsplit("/", 1)[-1] in names]
        failures = {file["path"]: _reason(file) for file in needed if file["state"] == "failed"}
        if failures:
            raise ModelNotReady(failures)
        if section["state"] != "starting" and all(file["state"] == "ready" for file in needed):
            return
        if section["state"] == "failed":
            raise ModelNotReady({file["path"]: (section["error"] or {}).get("message", "") for file in needed})
        if needed and not asked:
            asked = True
            board.write("wanted", {"names": sorted(file["name"].rsplit("/", 1)[-1] for file in needed)})
        if needed:
            observe(_awaited(needed, section))
        await asyncio.sleep(POLL_SECONDS)


def _awaited(needed: list[dict[str, Any]], section: dict[str, Any]) -> ModelsAwaited:
    waiting = [file for file in needed if file["state"] != "ready"]
    left = sum(max(0, (file.get("size") or 0) - (file.get("bytes") or 0)) for file in waiting)
    rate = section.get("bytes_per_second")
    return ModelsAwaited(tuple(file["path"] for file in waiting), left, left / rate if rate else None)


def _reason(file: dict[str, Any]) -> str:
    return str((file.get("error") or {}).get("message", "the download failed"))
