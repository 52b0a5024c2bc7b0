"""The kinds of parameter that a recipe.toml may declare, and the values that each of them takes."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, create_model

# The largest whole number that every JSON client reads exactly (RFC 8259, section 6); ComfyUI's seeds go further.
LARGEST_SEED = 2**53 - 1
LONGEST_TEXT = 10_000
LARGEST_PICTURE_MB = 20.0
MOST_ELEMENTS = 64

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
REQUIRED: Any = ...


class Declared(BaseModel):
    """What every parameter has: what it means, and the `node.input`s that its value is set at, as a job's `set`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str = Field(min_length=1)
    targets: tuple[str, ...] = Field((), alias="set")
    example: Any = None

    @property
    def default_value(self) -> Any:
        """What it is where a request leaves it out; REQUIRED if that may not be."""
        default = getattr(self, "default", None)
        return REQUIRED if default is None else default

    @property
    def meaning(self) -> str:
        """What `/docs` says of it."""
        return self.description

    def kind(self, name: str) -> Any:
        """The annotated type of its values; `name` is for a model that has to be made."""
        raise NotImplementedError


class Text(Declared):
    """Words."""

    type: Literal["text"]
    default: str | None = None
    min_length: int = Field(0, ge=0)
    max_length: int = Field(LONGEST_TEXT, ge=1)

    def kind(self, name: str) -> Any:
        """A text of so many characters."""
        return Annotated[str, Field(min_length=self.min_length, max_length=self.max_length)]


class Integer(Declared):
    """A whole number."""

    type: Literal["integer"]
    default: int | None = None
    minimum: int | None = None
    maximum: int | None = None
    multiple_of: int | None = Field(None, ge=1)

    def kind(self, name: str) -> Any:
        """A whole number within the bounds."""
        return Annotated[int, Field(strict=True, ge=self.minimum, le=self.maximum, multiple_of=self.multiple_of)]


class Number(Declared):
    """A number."""

    type: Literal["number"]
    default: float | None = None
    minimum: float | None = None
    maximum: float | None = None

    def kind(self, name: str) -> Any:
        """A number within the bounds."""
        return Annotated[float, Field(strict=True, ge=self.minimum, le=self.maximum, allow_inf_nan=False)]


class Boolean(Declared):
    """True or false."""

    type: Literal["boolean"]
    default: bool | None = None

    def kind(self, name: str) -> Any:
        """True or false, and nothing that looks like it."""
        return Annotated[bool, Field(strict=True)]


class Choice(Declared):
    """One of a few texts or whole numbers."""

    type: Literal["choice"]
    choices: tuple[str | int, ...] = Field(min_length=1)
    default: str | int | None = None

    def kind(self, name: str) -> Any:
        """One of the choices."""
        return Literal[self.choices]


class Image(Declared):
    """A picture: base64, a data URI or an https address. Its targets are set to the name of its file."""

    type: Literal["image"]
    example: Any = "https://example.com/photo.png"
    max_megabytes: float = Field(LARGEST_PICTURE_MB, gt=0)

    @property
    def most_bytes(self) -> int:
        """How large the file may be."""
        return int(self.max_megabytes * 1e6)

    @property
    def meaning(self) -> str:
        """What `/docs` says of it."""
        return f"{self.description} Base64, a data URI or an https address; {self.max_megabytes:g} MB at most."

    def kind(self, name: str) -> Any:
        """A text; of base64 the length tells the size, of an address it shows when the picture is fetched."""
        return Annotated[str, Field(min_length=1), AfterValidator(self._checked)]

    def _checked(self, content: str) -> str:
        prefix = content.find(",") + 1 if content.startswith("data:") else 0
        # Four characters are three bytes, the padding among them.
        if (len(content) - prefix) * 3 // 4 > self.most_bytes + 2:
            raise ValueError(f"the picture has more than {self.max_megabytes:g} MB")
        return content


class Seed(Declared):
    """Where chance begins; left out, null or -1, it is drawn anew for each run of the workflow."""

    type: Literal["seed"]

    @property
    def default_value(self) -> Any:
        """It may always be left out."""
        return None

    def kind(self, name: str) -> Any:
        """A whole number, or nothing."""
        return Annotated[int, Field(strict=True, ge=-1, le=LARGEST_SEED)] | None


Scalar = Annotated[
    Text | Integer | Number | Boolean | Choice | Image | Seed,
    Field(discriminator="type"),
]


class Elements(Declared):
    """A list of objects, for each of which the workflow runs once: the recipe's `for_each`."""

    type: Literal["list"]
    fields: dict[Name, Scalar] = Field(min_length=1)
    min_items: int = Field(1, ge=1)
    max_items: int = Field(ge=1, le=MOST_ELEMENTS)

    def kind(self, name: str) -> Any:
        """A list of so many objects with these fields."""
        element: Any = model_of(f"{name}Element", self.description, self.fields)
        return Annotated[list[element], Field(min_length=self.min_items, max_length=self.max_items)]


Parameter = Annotated[
    Text | Integer | Number | Boolean | Choice | Image | Seed | Elements,
    Field(discriminator="type"),
]


def model_of(title: str, description: str, parameters: Mapping[str, Any]) -> type[BaseModel]:
    """The model of an object with these parameters, as `/docs` shows it and as requests are read."""
    fields: dict[str, Any] = {}
    for number, (name, declared) in enumerate(parameters.items()):
        # A parameter may be called what pydantic's own methods are.
        fields[f"field_{number}"] = (declared.kind(f"{title}{camel(name)}"), _field(name, declared))
    config = ConfigDict(extra="forbid", protected_namespaces=())
    made: type[BaseModel] = create_model(title, __config__=config, __doc__=description, **fields)
    return made


def camel(name: str) -> str:
    """`multi-view` -> `MultiView`, `view-2` -> `View_2`: no two names become one."""
    parts = name.replace("_", "-").split("-")
    return "".join(f"_{part}" if part[:1].isdigit() else part.capitalize() for part in parts)


def _field(name: str, declared: Declared) -> Any:
    examples = None if declared.example is None else [declared.example]
    return Field(declared.default_value, alias=name, title=name, description=declared.meaning, examples=examples)
