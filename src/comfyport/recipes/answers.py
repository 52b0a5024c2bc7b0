"""A recipe's answer, made of the answers of its runs as its `[answer]` declares."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from comfyport.comfyui.results import prompt_node
from comfyport.errors import OutputMissing
from comfyport.recipes.recipe import Recipe
from comfyport.recipes.runs import Run
from comfyport.recipes.sources import Each, FileOf, FilesOf, Source, Told

LISTS = ("images", "videos", "audio", "files", "text")


@dataclass(frozen=True)
class Outcome:
    """What became of a run: its fields in the answer, and of the job's own answer its timings and its problems."""

    fields: Mapping[str, Any]
    timings: Mapping[str, float]
    problems: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether the run is listed with its error."""
        return "error" in self.fields

    @property
    def size(self) -> int:
        """Bytes that its fields take in the answer."""
        return len(json.dumps(self.fields))


def went_well(recipe: Recipe, run: Run, answer: Mapping[str, Any]) -> Outcome:
    """What a run gives whose job answered this. Raises OutputMissing."""
    problems = tuple(answer.get("errors") or ())
    fields = {name: _value(recipe, run, answer, source) for name, source in _of_each(recipe).items()}
    return Outcome(fields, answer.get("timings") or {}, problems)


def failed(recipe: Recipe, run: Run, error: Mapping[str, Any]) -> Outcome:
    """What is listed of a run that ended with this error; what it was asked for stays with it."""
    fields = {
        name: run.values[source.parameter] if isinstance(source, Told) else None
        for name, source in _of_each(recipe).items()
    }
    return Outcome({**fields, **error}, {})


def whole(recipe: Recipe, runs: list[Run], outcomes: list[Outcome], seconds: float) -> dict[str, Any]:
    """The answer to the request."""
    answer: dict[str, Any] = {}
    for name, source in recipe.declared.answer.items():
        match source:
            case Each():
                answer[name] = [dict(outcome.fields) for outcome in outcomes]
            case FileOf() | FilesOf():
                answer[name] = outcomes[0].fields[name]
            case Told(parameter=parameter):
                answer[name] = runs[0].values[parameter]
            case _:
                answer[name] = round(seconds, 3)
    problems = [problem for outcome in outcomes for problem in outcome.problems]
    return {**answer, **({"errors": problems} if problems else {}), "timings": _added(outcomes)}


def echoed_bytes(recipe: Recipe, run: Run) -> int:
    """Bytes that the answer takes for what it repeats of the request, once for all runs."""
    repeated = [source for source in recipe.declared.answer.values() if isinstance(source, Told)]
    return sum(len(json.dumps(run.values[source.parameter])) for source in repeated)


def _of_each(recipe: Recipe) -> Mapping[str, Source]:
    """The fields that every run has its own of."""
    for source in recipe.declared.answer.values():
        if isinstance(source, Each):
            return source.each
    return {name: source for name, source in recipe.declared.answer.items() if isinstance(source, FileOf | FilesOf)}


def _value(recipe: Recipe, run: Run, answer: Mapping[str, Any], source: Source) -> Any:
    match source:
        case Told(parameter=name):
            return run.values[name]
        case FileOf(file=node) | FilesOf(files=node):
            files = [item for name in LISTS for item in answer.get(name) or () if prompt_node(item["node_id"]) == node]
            if not files:
                raise OutputMissing(recipe.name, node, answer.get("errors") or ())
            return files if isinstance(source, FilesOf) else files[0]["data"]
        case _:
            return round(sum((answer.get("timings") or {}).values()), 3)


def _added(outcomes: Iterable[Outcome]) -> dict[str, float]:
    total: Counter[str] = Counter()
    for outcome in outcomes:
        total.update(outcome.timings)
    return {name: round(seconds, 3) for name, seconds in total.items()}
