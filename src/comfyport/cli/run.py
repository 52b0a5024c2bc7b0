"""`comfyport run`: one job to any endpoint, its progress on the terminal, its files in a folder."""

import json
from pathlib import Path
from typing import Annotated

import typer

from comfyport.cli.options import JsonOption


def run_command(
    workflow: Annotated[Path, typer.Argument(help="A workflow, or a job as JSON.")],
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
    comfyui: Annotated[
        str | None,
        typer.Option(
            "--comfyui",
            metavar="URL",
            help="The ComfyUI that tells how a workflow of the editor is to be read; else COMFYUI_URL, else port 8188.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Send a job, show its progress, save its files. Ctrl-C cancels it."""
    # Here and not above: a start of the container loads this file too, and needs none of it.
    from comfyport.cli import sending

    job = sending.job_from(
        workflow, images=image or (), files=file or (), values=values or (), timeout=timeout, comfyui=comfyui
    )
    answer, saved = sending.send(job, endpoint, output)
    if as_json:
        typer.echo(json.dumps({"ok": True, "saved": saved, "timings": answer.get("timings")}))
        return
    for text in answer.get("text") or ():
        typer.echo(text["data"] if isinstance(text, dict) else text)
    for name in saved:
        typer.echo(name)
