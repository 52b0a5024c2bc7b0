"""`comfyport run`: one job to any endpoint, its progress on the terminal, its files in a folder."""

import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from comfyport.cli import job_files
from comfyport.cli.endpoints import Endpoint, State, endpoint_for
from comfyport.cli.options import JsonOption
from comfyport.errors import EndpointFailed, RemoteJobFailed
from comfyport.settings import ClientSettings

POLL_SECONDS = 0.5
LINE_SECONDS = 5.0
INTERRUPTED = 128 + signal.SIGINT


def run_command(
    workflow: Annotated[Path, typer.Argument(help="A workflow in API format, or a job as JSON.")],
    endpoint: Annotated[
        str, typer.Option("--endpoint", "-e", help="URL, runpod:ID or modal:APP.")
    ] = "http://127.0.0.1:8000",
    image: Annotated[
        list[str] | None, typer.Option("--image", "-i", help="A picture: PATH, or NAME=PATH as the workflow names it.")
    ] = None,
    file: Annotated[list[str] | None, typer.Option("--file", "-f", help="Any other input, in the same way.")] = None,
    values: Annotated[list[str] | None, typer.Option("--set", "-s", help="NODE.INPUT=VALUE.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the files go.")] = Path(),
    timeout: Annotated[float | None, typer.Option("--timeout", help="Seconds that the job may take.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Send a job, show its progress, save its files. Ctrl-C cancels it."""
    job_input = job_files.read_workflow(workflow)
    for key, found in (
        ("images", job_files.inputs_from(image or (), "image")),
        ("files", job_files.inputs_from(file or (), "data")),
    ):
        if found:
            job_input[key] = [*(job_input.get(key) or ()), *found]
    if values:
        job_input["set"] = {**(job_input.get("set") or {}), **job_files.values_from(values)}
    if timeout is not None:
        job_input["timeout"] = timeout
    place = endpoint_for(endpoint, ClientSettings.load())
    state = _followed(place, place.submit({"input": job_input}))
    answer = _answer(state)
    saved = job_files.save(answer, output)
    if as_json:
        typer.echo(json.dumps({"ok": True, "id": state.id, "saved": saved, "timings": answer.get("timings")}))
        return
    for text in answer.get("text") or ():
        typer.echo(text["data"] if isinstance(text, dict) else text)
    for name in saved:
        typer.echo(name)


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
