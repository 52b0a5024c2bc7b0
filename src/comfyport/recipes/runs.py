"""What a request makes of a recipe: the ordinary jobs to run, one for each element of its list, or one."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from comfyport.recipes.parameters import Declared, Elements, Image, Seed
from comfyport.recipes.recipe import Recipe

# Ten digits are enough for chance, and for people to read and write.
LARGEST_DRAWN = 2**32
_chance = random.SystemRandom()


@dataclass(frozen=True)
class Picture:
    """A picture that a run brings: `name` is what its workflow calls it."""

    name: str
    content: str = field(repr=False)
    most_bytes: int = 0


@dataclass(frozen=True)
class Run:
    """One run of a recipe's workflow: the values by parameter, as `perspectives.id` for those of the element.

    `settings` are the values by `node.input`.
    """

    values: Mapping[str, Any] = field(repr=False)
    settings: Mapping[str, Any] = field(repr=False)
    pictures: tuple[Picture, ...] = ()


def of(recipe: Recipe, values: Mapping[str, Any]) -> list[Run]:
    """The runs that the values of a request ask for, in the order of its list; seeds are drawn where none is given."""
    elements = values[recipe.declared.for_each] if recipe.elements else [{}]
    return [_run(recipe, values, element) for element in elements]


def _run(recipe: Recipe, values: Mapping[str, Any], element: Mapping[str, Any]) -> Run:
    used: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    pictures: list[Picture] = []
    for name, declared in recipe.parameters().items():
        if isinstance(declared, Elements):
            continue
        outer, _, inner = name.partition(".")
        value = used[name] = _used(declared, element[inner] if inner else values[outer])
        if isinstance(declared, Image):
            # The job's files are told by their names anywhere in the workflow, and nobody's prompt is this one.
            picture = Picture(f"recipe-{recipe.name}-{name}.png", value, declared.most_bytes)
            pictures.append(picture)
            value = picture.name
        settings |= dict.fromkeys(declared.targets, value)
    return Run(used, settings, tuple(pictures))


def _used(declared: Declared, value: Any) -> Any:
    if isinstance(declared, Seed) and value in (None, -1):
        return _chance.randrange(LARGEST_DRAWN)
    return value
