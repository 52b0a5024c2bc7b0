"""`comfyport recipes`: what there is, or what is wrong with it."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.recipes.conftest import PLAIN, RECIPES, square, write_recipe


def listed(folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    """`comfyport recipes list` on the recipes in `folder`, to its end."""
    environ = {**os.environ, "RECIPES_DIR": str(folder), "COMFYPORT_VOLUME": str(folder / "none"), "COLUMNS": "200"}
    command = [sys.executable, "-m", "comfyport", "recipes", "list", *options]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=100)


def test_the_recipes_are_listed_with_routes_parameters_and_models():
    table, document = listed(RECIPES), json.loads(listed(RECIPES, "--json").stdout)

    assert (table.returncode, document["ok"]) == (0, True)
    assert all(word in table.stdout for word in ("multi-view", "/api/generate", "perspectives", "sd15"))
    assert [recipe["name"] for recipe in document["recipes"]] == ["image-edit", "multi-view", "text-to-image"]
    assert document["recipes"][1]["routes"] == ["/recipes/multi-view", "/api/generate"]


def test_a_recipe_that_cannot_be_used_is_named(tmp_path: Path):
    write_recipe(tmp_path, "mine", PLAIN.replace("11.color", "12.color"), square())

    done = listed(tmp_path, "--json")

    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["code"] == "invalid_recipe"
    assert "mine/recipe.toml: parameters.colour.set: '12.color': there is no node '12'" in done.stderr
