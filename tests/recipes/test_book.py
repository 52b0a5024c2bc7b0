"""Recipes are read at the start: every mistake is named then, with its file, entry and field."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from comfyport.comfyui.needs import is_model_file, model_files
from comfyport.errors import InvalidRecipe
from comfyport.models import lock
from comfyport.recipes import book
from comfyport.settings import Settings
from tests.conftest import ROOT, Container, container_environ, write_lock
from tests.recipes.conftest import PLAIN, RECIPES, SQUARES, square, squares, write_recipe


def problems(*folders: Path) -> list[str]:
    """What is wrong with the recipes in these folders."""
    with pytest.raises(InvalidRecipe) as refused:
        book.load(folders)
    assert all(problem in refused.value.message for problem in refused.value.details["problems"])
    return list(refused.value.details["problems"])


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ('title = "A square"', "", "recipe.toml: title: Field required"),
        ('title = "A square"', 'title = "A square', "recipe.toml: Illegal character '\\n' (at line 2, column 18)"),
        ('title = "A square"', 'title = "A square"\ntitel = 1', "recipe.toml: titel: Extra inputs are not permitted"),
        ('title = "A square"', 'title = "x"\npaths = ["/health"]', "recipe.toml: paths.0: String should match"),
        ('title = "A square"', 'title = "x"\npaths = ["/api/../run"]', "recipe.toml: paths.0: String should match"),
        ('title = "A square"', 'title = "x"\nfor_each = "colour"', "recipe.toml: for_each: there is no parameter"),
        ("parameters.colour", "parameters.Colour", "recipe.toml: parameters.Colour"),
        ('"integer"', '"colour"', "recipe.toml: parameters.colour: Input tag 'colour'"),
        ('description = "0xRRGGBB."', "", "recipe.toml: parameters.colour.description: Field required"),
        ("minimum = 0", 'minimum = "none"', "recipe.toml: parameters.colour.minimum: Input should be a valid integer"),
        ("minimum = 0", "minimal = 0", "recipe.toml: parameters.colour.minimal: Extra inputs are not permitted"),
        ("default = 7", "default = -7", "recipe.toml: parameters.colour.default: Input should be greater than"),
        ("minimum = 0", "minimum = 0x1000000", "recipe.toml: parameters.colour.minimum: it is above maximum"),
        ("11.color", "11.colour", "recipe.toml: parameters.colour.set: '11.colour': node '11' has no input 'colour'"),
        ("11.color", "12.color", "recipe.toml: parameters.colour.set: '12.color': there is no node '12'"),
        ('set = ["11.color"]', "", "recipe.toml: parameters.colour.set: the parameter is used nowhere"),
        ('set = ["11.color"]', 'set = ["11.color", "11.color"]', "'11.color' is set by parameters.colour already"),
        ('{ file = "13" }', '{ file = "14" }', "recipe.toml: answer.file.file: workflow.json has no node '14'"),
        ('{ file = "13" }', '{ fil = "13" }', "recipe.toml: answer.file: must be { file"),
        ('{ file = "13" }', '"13"', "recipe.toml: answer.file: must be { file"),
        ('{ file = "13" }', '{ parameter = "color" }', "answer.file.parameter: there is none 'color'; there is colour"),
        ('{ file = "13" }', '{ measure = "days" }', "recipe.toml: answer.file.measure: Input should be 'seconds'"),
        ('{ file = "13" }', '{ each = { a = { file = "13" } } }', "answer.file.each: there is nothing to have one"),
        ("file = { file", "error = { file", "recipe.toml: answer.error: an answer has a field of this name already"),
        ("[answer]", "[answers]", "recipe.toml: answer: Field required"),
    ],
)
def test_a_mistake_in_recipe_toml_is_named(tmp_path: Path, before: str, after: str, told: str):
    assert before in PLAIN
    write_recipe(tmp_path, "mine", PLAIN.replace(before, after), square())

    found = problems(tmp_path)

    assert any(problem.startswith(f"{tmp_path}/mine/recipe.toml: ") and told in problem for problem in found), found


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ('for_each = "squares"', "", "parameters.squares: a list needs for_each = 'squares'"),
        ("[answer.results.each]", "[answer]", "answer: with for_each, one field must be { each"),
        ("max_items = 8", "", "parameters.squares.max_items: Field required"),
        ("max_items = 8", "max_items = 1000", "parameters.squares.max_items: Input should be less than"),
        ("default = 1", 'default = "1.5"', "parameters.squares.fields.steps.default: Input should be"),
        ('"squares.colour"', '"colour"', "answer.results.each.colour.parameter: there is none 'colour'"),
        ("colour = { par", "error = { par", "answer.results.each.error: it has a field of this name already"),
        ('{ file = "13" }', '{ file = "13" }\n[answer.file]\nfile = "13"', "answer.file.file: with for_each, each run"),
    ],
)
def test_a_mistake_in_a_list_is_named(tmp_path: Path, before: str, after: str, told: str):
    assert before in SQUARES
    squares(tmp_path)
    (tmp_path / "squares" / "recipe.toml").write_text(SQUARES.replace(before, after, 1))

    assert any(told in problem for problem in problems(tmp_path)), problems(tmp_path)


@pytest.mark.parametrize(
    ("workflow", "told"),
    [
        ("{", "workflow.json: Expecting property name"),
        ("[]", "workflow.json: it must be an object"),
        ({"nodes": [], "links": []}, "workflow.json: it is in ComfyUI's editor format; export it"),
        ({"11": {"inputs": {"color": 1}}, "13": {}}, "workflow.json: node '11': Cannot execute because a node"),
        ("[" * 100_000, "workflow.json: "),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_mistake_in_the_workflow_is_named(tmp_path: Path, workflow: Any, told: str):
    write_recipe(tmp_path, "mine", PLAIN, workflow)

    assert problems(tmp_path)[0].startswith(f"{tmp_path}/mine/{told}")


def test_all_mistakes_of_all_recipes_are_told_at_once(tmp_path: Path):
    write_recipe(tmp_path, "first", PLAIN.replace("11.color", "12.color").replace('"13"', '"14"'), square())
    write_recipe(tmp_path, "Second", PLAIN, square())
    (tmp_path / "third").mkdir()

    found = problems(tmp_path)

    assert [problem.removeprefix(f"{tmp_path}/").split(": ")[0] for problem in found] == [
        "Second/recipe.toml",
        "first/recipe.toml",
        "first/recipe.toml",
        "third/recipe.toml",
        "third/workflow.json",
    ]


def test_two_recipes_cannot_be_served_at_one_path(tmp_path: Path):
    for name in ("one", "two"):
        write_recipe(tmp_path, name, f'paths = ["/api/square"]\n{PLAIN}', square())

    assert problems(tmp_path) == ["two/recipe.toml: paths: /api/square is served by the recipe one already"]


def test_of_two_recipes_with_a_name_the_later_folders_is_taken(tmp_path: Path):
    write_recipe(tmp_path / "image", "mine", PLAIN, square())
    write_recipe(tmp_path / "volume", "mine", PLAIN.replace("A square", "My square"), square())

    recipes = book.load([tmp_path / "image", tmp_path / "volume"])

    assert [recipe.declared.title for recipe in recipes] == ["My square"]


def test_what_an_editor_or_a_disk_leaves_in_the_folder_is_no_recipe(tmp_path: Path):
    for name in (".git", "lost+found"):
        (tmp_path / name).mkdir()
    (tmp_path / "README.md").touch()

    assert list(book.load([tmp_path])) == []


def test_parameters_may_be_called_what_pydantic_has_methods_for(tmp_path: Path):
    toml = PLAIN.replace("parameters.colour", "parameters.model_dump").replace("file = {", "json = {")
    recipe = book.load([write_recipe(tmp_path, "mine", toml, square())]).named("mine")

    assert recipe.read({"model_dump": 9}) == {"model_dump": 9}
    assert "json" in recipe.answer.model_json_schema()["properties"]


def test_recipes_lie_beside_the_lock_and_on_the_volume(tmp_path: Path):
    environ = container_environ(tmp_path)
    assert Settings.load(environ).recipes_folders == ()

    for folder in (tmp_path / "recipes", tmp_path / "volume" / "recipes"):
        folder.mkdir(parents=True)

    assert Settings.load(environ).recipes_folders == (tmp_path / "recipes", tmp_path / "volume" / "recipes")
    assert Settings.load(environ | {"RECIPES_DIR": "/mine"}).recipes_folders[0] == Path("/mine")


@pytest.mark.parametrize("folder", ["none", "broken"])
def test_a_worker_does_not_start_with_recipes_that_cannot_be_used(
    start: Callable[..., Container], tmp_path: Path, folder: str
):
    write_lock(tmp_path / "models.lock.json")
    write_recipe(tmp_path / "broken", "mine", PLAIN.replace("11.color", "12.color"), square())

    door = start(ROOT / "src" / "start.sh", RECIPES_DIR=str(tmp_path / folder))

    assert door.end(within=30) == 2
    assert f"{tmp_path / folder}" in door.output


def test_the_shipped_recipes_are_in_the_image_and_named_in_the_docs():
    names = sorted(recipe.name for recipe in book.load([RECIPES]))
    documented = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")

    assert names == ["image-edit", "multi-view", "text-to-image"]
    assert "\nCOPY recipes /recipes\n" in (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert all(f"`{name}`" in documented for name in names)


def test_the_groups_that_a_shipped_recipe_names_have_every_model_of_its_workflow():
    shipped = lock.load(ROOT / "models.lock.json")
    for recipe in book.load([RECIPES]):
        entries = shipped.choose(recipe.declared.models)
        named = {file for file in model_files(recipe.workflow) if is_model_file(file.name)}

        missing = [
            file for file in named if not any(file.is_meant_by(entry.directory, entry.name) for entry in entries)
        ]

        assert named
        assert missing == [], recipe.name
