"""A recipe: what its recipe.toml says, checked against its workflow, and the values that a request gives it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from comfyport.comfyui.form import malformed
from comfyport.comfyui.values import with_values
from comfyport.comfyui.workflow import Workflow
from comfyport.errors import InvalidJob, InvalidParameters
from comfyport.recipes import forms
from comfyport.recipes.parameters import REQUIRED, Declared, Elements, Name, Parameter, Seed, camel, model_of
from comfyport.recipes.problems import told
from comfyport.recipes.sources import AnswerField, Each, FileOf, FilesOf, Source, Told

# Other paths lead to the door's own routes, now or one day.
Path = Annotated[str, StringConstraints(pattern=r"^/api(/[a-z0-9][a-z0-9_-]*)+$", max_length=100)]
# What a failure and every answer may have already.
TAKEN = frozenset({"error", "error_code", "details", "errors", "status", "timings", "refresh_worker"})


class Declaration(BaseModel):
    """What recipe.toml says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str = Field(min_length=1)
    description: str = ""
    models: tuple[str, ...] = ()
    paths: tuple[Path, ...] = ()
    for_each: str = ""
    parameters: dict[Name, Parameter]
    answer: dict[Name, AnswerField] = Field(min_length=1)


@dataclass(frozen=True)
class Recipe:
    """A workflow in API format with named parameters; `name` is that of its folder."""

    name: str
    declared: Declaration
    workflow: Workflow

    @cached_property
    def request(self) -> type[BaseModel]:
        """The model of what it takes."""
        title = f"{camel(self.name)}Request"
        return model_of(title, self.declared.description or self.declared.title, self.declared.parameters)

    @cached_property
    def answer(self) -> type[BaseModel]:
        """The model of what it answers."""
        return forms.answer_model(camel(self.name), self.declared.answer, self.kind_of)

    @property
    def routes(self) -> tuple[str, ...]:
        """Where it is served."""
        return (f"/recipes/{self.name}", *self.declared.paths)

    @property
    def elements(self) -> Elements | None:
        """The parameter for each of whose elements the workflow runs."""
        found = self.declared.parameters.get(self.declared.for_each)
        return found if isinstance(found, Elements) else None

    def read(self, given: Any) -> dict[str, Any]:
        """The values of a request by parameter, defaults filled in. Raises InvalidParameters with all that is wrong."""
        try:
            return self.request.model_validate(given).model_dump(by_alias=True)
        except ValidationError as error:
            raise InvalidParameters(self.name, told(error)) from None

    def parameters(self) -> dict[str, Declared]:
        """Every parameter by the name that the answer has for it, those of the elements as `perspectives.id`."""
        found: dict[str, Declared] = dict(self.declared.parameters)
        if self.elements:
            found |= {f"{self.declared.for_each}.{name}": field for name, field in self.elements.fields.items()}
        return found

    def kind_of(self, name: str) -> Any:
        """The type of a parameter's value once it is used: of a seed, the number that was."""
        declared = self.parameters()[name]
        return int if isinstance(declared, Seed) else declared.kind(camel(f"{self.name}-{name.replace('.', '-')}"))

    def problems(self) -> Iterator[str]:
        """What is wrong with it beyond the form of recipe.toml, each with the file, the entry and the field."""
        if bad := [f"workflow.json: {_in_words(problem)}" for problem in malformed(self.workflow)]:
            yield from bad
            return
        yield from (f"recipe.toml: {problem}" for problem in (*self._of_parameters(), *self._of_answer()))

    def _of_parameters(self) -> Iterator[str]:
        for_each = self.declared.for_each
        if for_each and not self.elements:
            yield f"for_each: there is no parameter {for_each!r} of the type list"
        used = {source.parameter for source in self._sources() if isinstance(source, Told)}
        places: dict[str, str] = {}
        for name, declared in self.parameters().items():
            field = f"parameters.{name.replace('.', '.fields.')}"
            if isinstance(declared, Elements):
                if name != for_each:
                    yield f"{field}: a list needs for_each = {name!r} at the top of the file"
                continue
            if not declared.targets and name not in used:
                yield f"{field}.set: the parameter is used nowhere; name the inputs that it sets, as NODE.INPUT"
            for target in declared.targets:
                if place := places.get(target):
                    yield f"{field}.set: {target!r} is set by {place} already"
                places[target] = field
                yield from (f"{field}.set: {problem}" for problem in _not_settable(self.workflow, target))
            yield from (f"{field}.default: {problem}" for problem in _unfit(declared))

    def _of_answer(self) -> Iterator[str]:
        lists = [name for name, field in self.declared.answer.items() if isinstance(field, Each)]
        if self.declared.for_each and len(lists) != 1:
            yield "answer: with for_each, one field must be { each = { … } }: the list of the results"
        if not self.declared.for_each and lists:
            yield f"answer.{lists[0]}.each: there is nothing to have one for each of; name a parameter with for_each"
        for name, field in self.declared.answer.items():
            if name in TAKEN:
                yield f"answer.{name}: an answer has a field of this name already"
            if isinstance(field, Each):
                for inner, source in field.each.items():
                    if inner in TAKEN:
                        yield f"answer.{name}.each.{inner}: it has a field of this name already where it failed"
                    yield from (f"answer.{name}.each.{inner}.{text}" for text in self._of_source(source, each=True))
            else:
                yield from (f"answer.{name}.{text}" for text in self._of_source(field, each=not self.declared.for_each))

    def _of_source(self, source: Source, *, each: bool) -> Iterator[str]:
        """`each`: it is asked for once for every run, where files and seeds are known."""
        match source:
            case FileOf(file=node) | FilesOf(files=node):
                field = "file" if isinstance(source, FileOf) else "files"
                if node not in self.workflow:
                    yield f"{field}: workflow.json has no node {node!r}; it has {', '.join(self.workflow)[:500]}"
                elif not each:
                    yield f"{field}: with for_each, each run has its own; put it into {{ each = {{ … }} }}"
            case Told(parameter=name):
                known = {
                    name: declared
                    for name, declared in self.parameters().items()
                    if not isinstance(declared, Elements) and (each or "." not in name)
                }
                if name not in known:
                    yield f"parameter: there is none {name!r}; there is {', '.join(known)[:500]}"
                elif not each and isinstance(known[name], Seed):
                    yield "parameter: with for_each, each run draws its own seed; put it into { each = { … } }"

    def _sources(self) -> Iterator[Source]:
        for field in self.declared.answer.values():
            if isinstance(field, Each):
                yield from field.each.values()
            else:
                yield field


def _in_words(problem: Any) -> str:
    where = f"node {problem.node_id!r}: " if problem.node_id else ""
    return f"{where}{problem.message}"


def _not_settable(workflow: Mapping[str, Any], target: str) -> list[str]:
    try:
        with_values(dict(workflow), {target: None})
    except InvalidJob as error:
        return [str(problem) for problem in error.details["problems"]]
    return []


def _unfit(declared: Declared) -> list[str]:
    """What is wrong with a default, or with bounds that contradict each other."""
    value = declared.default_value
    if value is REQUIRED or value is None:
        return []
    try:
        TypeAdapter(declared.kind("Default")).validate_python(value)
    except ValidationError as error:
        return [message for _, message in told(error)]
    return []
