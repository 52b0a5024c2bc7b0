"""Sends one job and stays with it to its end: what `comfyport run` does."""

import signal
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import typer

from comfyport.cli import job_files
from comfyport.cli.endpoints import Endpoint, State, endpoint_for
from comfyport.errors import EndpointFailed, RemoteJobFailed
from comfyport.settings import ClientSettings

POLL_SECONDS = 0.5
LINE_SECONDS = 5.0
INTERRUPTED = 128 + signal.SIGINT


def job_from(
    workflow: Path,
    *,
    images: Iterable[str],
    files: Iterable[str],
    values: Iterable[str],
    timeout: float | None,
    comfyui: str | None,
) -> dict[str, Any]:
    """The job that a workflow's file and the options of the command line make. Raises UsageError."""
    job_input = job_files.read_workflow(workflow, comfyui)
    for key, found in (
        ("images", job_files.inputs_from(images, "image")),
        ("files", job_files.inputs_from(files, "data")),
    ):
        if found:
            job_input[key] = [*(job_input.get(key) or ()), *found]
    if given := job_files.values_from(values):
        job_input["set"] = {**(job_input.get("set") or {}), **given}
    if timeout is not None:
        job_input["timeout"] = timeout
    return {"input": job_input}


def send(job: dict[str, Any], address: str, folder: Path) -> tuple[dict[str, Any], list[str]]:
    """The answer to a job, and where its files are now. Raises EndpointFailed, RemoteJobFailed or UsageError."""
    endpoint = endpoint_for(address, ClientSettings.load())
    answer = _answer(_followed(endpoint, endpoint.submit(job)))
    return answer, job_files.save(answer, folder)


def _followed(endpoint: Endpoint, state: State) -> State:
    """The job when it has ended; Ctrl-C cancels it and ends the program."""
    show = _Terminal() if sys.stderr.isatty() else _Lines()
    try:
        with show.shown():
            while not state.ended:
                show.update(state)
                time.sleep(POLL_SECONDS)
                state = endpoint.state(state.id)
    except KeyboardInterrupt:
        typer.echo(f"job {state.id}: cancelling", err=True)
        with suppress(EndpointFailed):
            endpoint.cancel(state.id)
        raise typer.Exit(INTERRUPTED) from None
    return state


def _answer(state: State) -> dict[str, Any]:
    """The answer of a job that went well. Raises RemoteJobFailed."""
    if state.status == "COMPLETED" and isinstance(state.output, dict):
        return state.output
    output = state.output if isinstance(state.output, dict) else {}
    message = state.error or f"the job ended as {state.status}"
    raise RemoteJobFailed(message, state.id, code=output.get("error_code"), details=output.get("details"))


def _words(state: State) -> tuple[str, float]:
    """What to say of a job that has not ended, and how much of it is done in per cent."""
    if state.status == "IN_QUEUE":
        return "waiting in the queue", 0.0
    progress = state.output if isinstance(state.output, dict) else {}
    match progress.get("type"):
        case "progress":
            step = f" {progress['step']}/{progress['steps']}" if progress.get("steps") else ""
            return f"{progress.get('title') or progress.get('class_type')}{step}", float(progress.get("percent") or 0)
        case "waiting_for_models":
            return f"downloading {len(progress.get('models') or ())} models", 0.0
    return "running", 0.0


class _Lines:
    """Where there is no terminal: a line when something new is to be said, at most every few seconds."""

    def __init__(self) -> None:
        self._said = ""
        self._next = 0.0

    @contextmanager
    def shown(self) -> Iterator[None]:
        yield

    def update(self, state: State) -> None:
        words, percent = _words(state)
        if words != self._said and time.monotonic() >= self._next:
            self._said, self._next = words, time.monotonic() + LINE_SECONDS
            typer.echo(f"job {state.id}: {words}, {percent:.0f} %", err=True)


class _Terminal:
    """A bar."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        self._display = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._display.add_task("sending", total=100)

    @contextmanager
    def shown(self) -> Iterator[None]:
        with self._display:
            yield

    def update(self, state: State) -> None:
        words, percent = _words(state)
        self._display.update(self._task, description=words, completed=percent)
