"""Waits for the models that a workflow names, as the status board tells of them, and for no others."""

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any

from comfyport.comfyui.needs import ModelFile
from comfyport.errors import ModelNotReady
from comfyport.jobs.events import ModelsAwaited, Observer, unobserved
from comfyport.status import Board

POLL_SECONDS = 0.1

# One entry of the board's list of files: see `Progress.as_section` in models/progress.py.
Listed = dict[str, Any]


async def for_models(files: Collection[ModelFile], board: Board, observe: Observer = unobserved) -> None:
    """Returns when every one of `files` that is being downloaded is there; asks the downloader to bring them first.

    Files that the downloader knows nothing of are ComfyUI's to judge. Raises ModelNotReady for those that failed.
    """

    def needed(listed: list[Listed]) -> list[list[Listed]]:
        return [found for file in files if (found := _meant(file, listed))]

    await _settled(needed, board, observe)


async def for_archives(files: Collection[ModelFile], board: Board, observe: Observer = unobserved) -> None:
    """Returns when every archive that one of `files` may lie in is unpacked, or has failed."""

    def needed(listed: list[Listed]) -> list[list[Listed]]:
        archives = [archive for archive in listed if archive.get("unpacked_into")]
        return [found for file in files if (found := [one for one in archives if _may_hold(one, file)])]

    # Whether the files were in them is ComfyUI's to say.
    with suppress(ModelNotReady):
        await _settled(needed, board, observe)


def archives_to_come(board: Board) -> bool:
    """Whether archives are still being downloaded, whose content nobody knows yet."""
    listed = (board.read("models") or {}).get("files", ())
    return any(file.get("unpacked_into") and file["state"] in ("waiting", "downloading") for file in listed)


async def _settled(needed: Callable[[list[Listed]], list[list[Listed]]], board: Board, observe: Observer) -> None:
    """Returns when of each group of entries that `needed` finds all have ended, one of them well."""
    asked = False
    while True:
        section = board.read("models")
        if section is None:
            return
        groups = needed(section["files"])
        failures = [file for group in groups if all(one["state"] == "failed" for one in group) for file in group]
        if failures:
            raise ModelNotReady({file["path"]: _reason(file) for file in failures})
        awaited = {file["path"]: file for group in groups for file in group if not _has_ended(file)}
        if section["state"] != "starting" and not awaited:
            return
        if section["state"] == "failed":
            raise ModelNotReady(dict.fromkeys(awaited, (section["error"] or {}).get("message", "")))
        if awaited and not asked:
            asked = True
            board.write("wanted", {"names": sorted({file["name"].rsplit("/", 1)[-1] for file in awaited.values()})})
        if awaited:
            observe(_awaited(list(awaited.values()), section))
        await asyncio.sleep(POLL_SECONDS)


def _meant(file: ModelFile, listed: list[Listed]) -> list[Listed]:
    """The entries that can be the file. Of several of one name, the one in the folder where ComfyUI looks for it."""
    found = [entry for entry in listed if file.is_meant_by(entry["directory"], entry["name"])]
    return [entry for entry in found if file.lies_in(entry["directory"])] or found


def _may_hold(archive: Listed, file: ModelFile) -> bool:
    return not file.folder or file.lies_in(archive["unpacked_into"])


def _has_ended(file: Listed) -> bool:
    return file["state"] in ("ready", "failed")


def _awaited(waiting: list[Listed], section: dict[str, Any]) -> ModelsAwaited:
    left = sum(max(0, (file.get("size") or 0) - (file.get("bytes") or 0)) for file in waiting)
    rate = section.get("bytes_per_second")
    return ModelsAwaited(tuple(file["path"] for file in waiting), left, left / rate if rate else None)


def _reason(file: Listed) -> str:
    return str((file.get("error") or {}).get("message", "the download failed"))
