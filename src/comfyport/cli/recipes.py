"""`comfyport recipes`: which there are, and what is wrong with those that cannot be used."""

import json
from typing import Any

import typer

from comfyport.cli.options import JsonOption
from comfyport.settings import Settings

app = typer.Typer(help="Workflows with named parameters.", no_args_is_help=True)


@app.callback()
def _recipes() -> None:
    """Keeps `list` a sub-command."""


@app.command("list")
def list_command(as_json: JsonOption = False) -> None:
    """Read all recipes as a worker does when it starts, and show their routes, parameters and models."""
    # Here and not above: a start of the container loads this file too, and needs none of it.
    from rich.console import Console
    from rich.table import Table

    from comfyport.recipes import book

    recipes = book.load(Settings.load().recipes_folders)
    rows: list[dict[str, Any]] = [
        {
            "name": recipe.name,
            "title": recipe.declared.title,
            "routes": recipe.routes,
            "parameters": tuple(recipe.declared.parameters),
            "models": recipe.declared.models,
        }
        for recipe in recipes
    ]
    if as_json:
        typer.echo(json.dumps({"ok": True, "recipes": rows}))
        return
    table = Table("recipe", "routes", "parameters", "models", box=None)
    for row in rows:
        table.add_row(row["name"], "\n".join(row["routes"]), ", ".join(row["parameters"]), ", ".join(row["models"]))
    Console().print(table)
