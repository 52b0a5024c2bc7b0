"""The command `comfyport`: puts the sub-commands together and turns errors into a message and an exit status."""

import json
import sys

import typer

from comfyport.cli import doctor, models, nodes, recipes, run, serve
from comfyport.errors import ComfyportError

app = typer.Typer(
    name="comfyport",
    help="ComfyUI on any GPU cloud: models, nodes, workers, jobs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(models.app, name="models")
app.add_typer(nodes.app, name="nodes")
app.add_typer(recipes.app, name="recipes")
app.command("doctor")(doctor.doctor_command)
app.command("run")(run.run_command)
app.command("serve")(serve.serve)


def main() -> None:
    """Runs the command line. Exit status: 0 done, 1 failed, 2 usage, 3 nothing failed but work is left."""
    try:
        app()
    except ComfyportError as error:
        if "--json" in sys.argv:
            typer.echo(json.dumps({"ok": False, "error": {"code": error.code, "message": error.message}}))
        typer.echo(f"comfyport: {error.message}", err=True)
        sys.exit(error.exit_status)
