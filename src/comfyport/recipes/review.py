"""What is wrong with a recipe beyond the form of its recipe.toml: what does not fit its workflow, or itself."""

from collections.abc import Iterator
from typing import Any

from pydantic import TypeAdapter, ValidationError

from comfyport.comfyui.form import malformed
from comfyport.comfyui.problems import Problem
from comfyport.comfyui.values import with_values
from comfyport.comfyui.workflow import Workflow
from comfyport.errors import InvalidJob
from comfyport.recipes.parameters import REQUIRED, Declared, Elements, Seed
from comfyport.recipes.problems import told
from comfyport.recipes.recipe import Recipe
from comfyport.recipes.sources import Each, FileOf, FilesOf, Source, Told

# What a failure and every answer may have already.
TAKEN = frozenset({"error", "error_code", "details", "errors", "status", "timings", "refresh_worker"})
BOUNDS = (("minimum", "maximum"), ("min_length", "max_length"), ("min_items", "max_items"))


def problems(recipe: Recipe) -> Iterator[str]:
    """Each with the file, the entry and the field."""
    if bad := [f"workflow.json: {_in_words(problem)}" for problem in malformed(recipe.workflow)]:
        yield from bad
        return
    yield from (f"recipe.toml: {problem}" for problem in (*_of_parameters(recipe), *_of_answer(recipe)))


def _of_parameters(recipe: Recipe) -> Iterator[str]:
    for_each = recipe.declared.for_each
    if for_each and not recipe.elements:
        yield f"for_each: there is no parameter {for_each!r} of the type list"
    answered = {source.parameter for source in _sources(recipe) if isinstance(source, Told)}
    places: dict[str, str] = {}
    for name, declared in recipe.parameters().items():
        field = f"parameters.{name.replace('.', '.fields.')}"
        yield from (f"{field}.{problem}" for problem in _contradictions(declared))
        if isinstance(declared, Elements):
            if name != for_each:
                yield f"{field}: a list needs for_each = {name!r} at the top of the file"
            continue
        if not declared.targets and name not in answered:
            yield f"{field}.set: the parameter is used nowhere; name the inputs that it sets, as NODE.INPUT"
        for target in declared.targets:
            if target in places:
                yield f"{field}.set: {target!r} is set by {places[target]} already"
            places[target] = field
            yield from (f"{field}.set: {problem}" for problem in _not_settable(recipe.workflow, target))
        yield from (f"{field}.default: {problem}" for problem in _unfit(declared))


def _contradictions(declared: Declared) -> Iterator[str]:
    for low, high in BOUNDS:
        least, most = getattr(declared, low, None), getattr(declared, high, None)
        if least is not None and most is not None and least > most:
            yield f"{low}: it is above {high}"


def _not_settable(workflow: Workflow, target: str) -> list[str]:
    try:
        with_values(workflow, {target: None})
    except InvalidJob as error:
        return [str(problem) for problem in error.details["problems"]]
    return []


def _unfit(declared: Declared) -> list[str]:
    """What is wrong with its default."""
    value: Any = declared.default_value
    if value is REQUIRED or value is None:
        return []
    try:
        TypeAdapter(declared.kind("Default")).validate_python(value)
    except ValidationError as error:
        return [message for _, message in told(error)]
    return []


def _of_answer(recipe: Recipe) -> Iterator[str]:
    several = bool(recipe.declared.for_each)
    lists = [name for name, source in recipe.declared.answer.items() if isinstance(source, Each)]
    if several and len(lists) != 1:
        yield "answer: with for_each, one field must be { each = { … } }: the list of the results"
    if lists and not several:
        yield f"answer.{lists[0]}.each: there is nothing to have one for each of; name a parameter with for_each"
    for name, source in recipe.declared.answer.items():
        if name in TAKEN:
            yield f"answer.{name}: an answer has a field of this name already"
        if not isinstance(source, Each):
            yield from (f"answer.{name}.{problem}" for problem in _of_source(recipe, source, each=not several))
            continue
        for inner, inner_source in source.each.items():
            field = f"answer.{name}.each.{inner}"
            if inner in TAKEN:
                yield f"{field}: it has a field of this name already where it failed"
            yield from (f"{field}.{problem}" for problem in _of_source(recipe, inner_source, each=True))


def _of_source(recipe: Recipe, source: Source, *, each: bool) -> Iterator[str]:
    """`each`: it is asked for once for every run, where files and seeds are known."""
    match source:
        case FileOf(file=node) | FilesOf(files=node):
            field = "file" if isinstance(source, FileOf) else "files"
            if node not in recipe.workflow:
                yield f"{field}: workflow.json has no node {node!r}; it has {', '.join(recipe.workflow)[:500]}"
            elif not each:
                yield f"{field}: with for_each, each run has its own; put it into {{ each = {{ … }} }}"
        case Told(parameter=name):
            known = {
                name: declared
                for name, declared in recipe.parameters().items()
                if not isinstance(declared, Elements) and (each or "." not in name)
            }
            if name not in known:
                yield f"parameter: there is none {name!r}; there is {', '.join(known)[:500]}"
            elif not each and isinstance(known[name], Seed):
                yield "parameter: with for_each, each run draws its own seed; put it into { each = { … } }"


def _sources(recipe: Recipe) -> Iterator[Source]:
    for source in recipe.declared.answer.values():
        if isinstance(source, Each):
            yield from source.each.values()
        else:
            yield source


def _in_words(problem: Problem) -> str:
    where = f"node {problem.node_id!r}: " if problem.node_id else ""
    return f"{where}{problem.message}"
