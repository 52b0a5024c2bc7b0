"""What a workflow put out -> files on this disk, each with what is known of it."""

import asyncio
import hashlib
from dataclasses import dataclass
from pathlib import Path

from comfyport.comfyui.client import Json, StoredFile
from comfyport.comfyui.results import prompt_node
from comfyport.comfyui.storage import Storage
from comfyport.errors import OutputFailed
from comfyport.jobs.media import media_type
from comfyport.jobs.reports import Report, reported_files, reported_texts


@dataclass(frozen=True)
class Output:
    """One file that a node put out: `kind` is its list in the answer, `path` where it lies now, `size` in bytes."""

    kind: str
    node_id: str
    stored: StoredFile
    path: Path
    media_type: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Outputs:
    """All that a job put out, in ComfyUI's order; `text` as (node id, text); `problems` with the files left out."""

    files: tuple[Output, ...] = ()
    text: tuple[tuple[str, str], ...] = ()
    problems: tuple[str, ...] = ()


def wanted(outputs: dict[str, Json], *, include_temp: bool) -> tuple[Report, ...]:
    """The files that a job is to deliver: all that its nodes name; those of the type `temp` only if asked for."""
    return tuple(report for report in reported_files(outputs) if include_temp or report.stored.type != "temp")


def gone(reports: tuple[Report, ...], storage: Storage, cached: frozenset[str]) -> list[str]:
    """Those of the `cached` nodes that name files which are not there any more."""
    missing = {prompt_node(report.node_id) for report in reports if report.certain and not storage.holds(report.stored)}
    return sorted(missing & cached)


async def collect(outputs: dict[str, Json], reports: tuple[Report, ...], storage: Storage) -> Outputs:
    """The files in `reports` and the texts in `outputs`. A file that cannot be read is told beside the others.

    Raises OutputFailed when there is none that can.
    """
    files: list[Output] = []
    failures: list[OutputFailed] = []
    for report in reports:
        try:
            files.append(await _described(report, storage))
        except OutputFailed as error:
            if report.certain:
                failures.append(error)
    text = tuple(reported_texts(outputs))
    if failures and not files and not text:
        raise failures[0]
    return Outputs(tuple(files), text, tuple(error.message for error in failures))


async def _described(report: Report, storage: Storage) -> Output:
    name = report.stored.filename
    path = await storage.fetch(report.stored)
    try:
        size, digest = await asyncio.to_thread(_measured, path)
    except OSError as error:
        raise OutputFailed(name, error.strerror or str(error)) from None
    return Output(report.kind, report.node_id, report.stored, path, media_type(name), size, digest)


def _measured(path: Path) -> tuple[int, str]:
    with path.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
        return opened.tell(), digest
