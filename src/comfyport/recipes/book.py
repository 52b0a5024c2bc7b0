"""The recipes of a worker, read from their folders when it starts:

    <folder>/<name>/recipe.toml      title, parameters, answer
    <folder>/<name>/workflow.json    ComfyUI's API format

Every problem of every recipe is found then, none at the first request.
"""

import json
import logging
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from comfyport.errors import InvalidRecipe, RecipeUnknown
from comfyport.recipes import review
from comfyport.recipes.problems import Place, told
from comfyport.recipes.recipe import Declaration, Recipe

logger = logging.getLogger(__name__)

NAME = re.compile(r"(?!.{64})[a-z][a-z0-9]*(-[a-z0-9]+)*")
LARGEST_FILE_BYTES = 8_000_000
# What a file system, or an editor, puts into a folder.
NOT_OURS = re.compile(r"\..*|lost\+found|__pycache__")


@dataclass(frozen=True)
class Recipes:
    """Recipes by name."""

    by_name: Mapping[str, Recipe] = field(default_factory=lambda: MappingProxyType({}))

    def __iter__(self) -> Iterator[Recipe]:
        return iter(self.by_name.values())

    def named(self, name: str) -> Recipe:
        """The recipe of this name. Raises RecipeUnknown."""
        try:
            return self.by_name[name]
        except KeyError:
            raise RecipeUnknown(name, sorted(self.by_name)) from None


def load(folders: Iterable[Path]) -> Recipes:
    """The recipes in these folders; of two with the same name, that in the later folder. Raises InvalidRecipe."""
    places: dict[str, Path] = {}
    problems: list[str] = []
    for folder in folders:
        try:
            found = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not NOT_OURS.fullmatch(entry.name))
        except OSError as error:
            problems.append(f"{folder}: {error.strerror or error}")
            continue
        for place in found:
            if place.name in places:
                logger.info("the recipe %s is the one in %s", place.name, folder)
            places[place.name] = place
    recipes: dict[str, Recipe] = {}
    for name, place in sorted(places.items()):
        try:
            recipes[name] = _read(place)
        except _Unusable as unusable:
            problems += [f"{place}/{problem}" for problem in unusable.problems]
    problems += _collisions(recipes.values())
    if problems:
        raise InvalidRecipe(problems)
    return Recipes(MappingProxyType(recipes))


class _Unusable(Exception):
    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def _read(place: Path) -> Recipe:
    if not NAME.fullmatch(place.name):
        raise _Unusable(["recipe.toml: the folder's name must be of small letters, digits and single hyphens"])
    problems: list[str] = []
    declared, workflow = None, None
    try:
        declared = Declaration.model_validate(tomllib.loads(_text(place / "recipe.toml")))
    except ValidationError as error:
        problems += [f"recipe.toml: {where}: {message}" for where, message in told(error, _without_tags)]
    except (ValueError, RecursionError) as error:
        problems.append(f"recipe.toml: {error}")
    try:
        workflow = _workflow(json.loads(_text(place / "workflow.json")))
    except (ValueError, RecursionError) as error:
        problems.append(f"workflow.json: {error}")
    if declared and workflow is not None:
        recipe = Recipe(place.name, declared, workflow)
        if not (problems := list(review.problems(recipe))):
            return recipe
    raise _Unusable(problems)


def _without_tags(loc: Place) -> Place:
    """The place as recipe.toml has it: pydantic names a parameter's type and an answer's source behind their names."""
    return tuple(
        part for number, part in enumerate(loc) if number not in (2, 5) or loc[0] not in ("parameters", "answer")
    )


def _text(file: Path) -> str:
    """The file's text. Raises ValueError."""
    try:
        if file.stat().st_size > LARGEST_FILE_BYTES:
            raise ValueError(f"it has more than {LARGEST_FILE_BYTES // 10**6} MB")
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from None


def _workflow(given: Any) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise ValueError("it must be an object that maps node ids to nodes")
    if isinstance(given.get("nodes"), list):
        raise ValueError("it is in ComfyUI's editor format; export it with 'Export (API)' in ComfyUI's menu")
    # As in a job, a node that takes nothing may leave its inputs out.
    return {node_id: {"inputs": {}, **node} if isinstance(node, dict) else node for node_id, node in given.items()}


def _collisions(recipes: Iterable[Recipe]) -> Iterator[str]:
    taken: dict[str, str] = {}
    for recipe in recipes:
        for path in recipe.declared.paths:
            if other := taken.get(path):
                yield f"{recipe.name}/recipe.toml: paths: {path} is served by the recipe {other} already"
            taken[path] = recipe.name
