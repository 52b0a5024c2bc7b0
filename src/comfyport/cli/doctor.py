"""`comfyport doctor`: one report on the machine, the volume and the settings, with a fix beside what is not right."""

import json
import os
import sys

import typer

from comfyport.cli.options import JsonOption
from comfyport.settings import Settings

STYLES = {"ok": "green", "note": "cyan", "work": "yellow", "problem": "bold red"}


def doctor_command(as_json: JsonOption = False) -> None:
    """Look at GPU, disk, models, nodes, tokens and ComfyUI; say what is wrong, and what to do about it."""
    from rich.console import Console
    from rich.text import Text

    from comfyport.doctor.examination import examine

    report = examine(Settings.load(), os.environ)
    if as_json:
        typer.echo(json.dumps(report.as_json()))
        raise typer.Exit(report.exit_status)
    console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
    area = ""
    for finding in report.findings:
        if finding.area != area:
            area = finding.area
            console.print(Text(area, "bold"))
        sign = (f"  {finding.sign:<8}", STYLES[finding.state])
        console.print(Text.assemble(sign, f"{finding.subject}: {finding.found}"))
        if finding.advice:
            console.print(Text(f"          -> {finding.advice}", STYLES[finding.state]))
    console.print(report.sum)
    raise typer.Exit(report.exit_status)
