"""A recipe: what its recipe.toml says, the workflow beside it, and the values that a request gives it."""

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from comfyport.comfyui.workflow import Workflow
from comfyport.errors import InvalidParameters
from comfyport.recipes import forms
from comfyport.recipes.parameters import Declared, Elements, Name, Parameter, Seed, camel, model_of
from comfyport.recipes.problems import told
from comfyport.recipes.sources import AnswerField

# Other paths lead to the door's own routes, now or one day.
Path = Annotated[str, StringConstraints(pattern=r"^/api(/[a-z0-9][a-z0-9_-]*)+$", max_length=100)]


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
