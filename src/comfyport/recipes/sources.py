"""Where the fields of a recipe's answer come from, as its `[answer]` declares them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from comfyport.recipes.parameters import Name

SOURCES = '{ file = "NODE" }, { files = "NODE" }, { parameter = "NAME" } or { measure = "seconds" }'


class _Source(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FileOf(_Source):
    """The first file of a node: its content in base64, or where it was delivered to."""

    file: str


class FilesOf(_Source):
    """All files of a node, each as in every job's answer."""

    files: str


class Told(_Source):
    """A parameter's value as it was used: `seed`, or `perspectives.id` of the element at hand."""

    parameter: str


class Measured(_Source):
    """Seconds that the whole took, the queue not counted."""

    measure: Literal["seconds"]


def _only_key(value: Any) -> str | None:
    keys = list(value) if isinstance(value, dict) else []
    return keys[0] if len(keys) == 1 else None


Source = Annotated[
    Annotated[FileOf, Tag("file")]
    | Annotated[FilesOf, Tag("files")]
    | Annotated[Told, Tag("parameter")]
    | Annotated[Measured, Tag("measure")],
    Discriminator(_only_key, custom_error_type="source", custom_error_message=f"must be {SOURCES}"),
]


class Each(_Source):
    """A list with an object for each run of the workflow; one that failed has `error`, `error_code` and `details`."""

    each: dict[Name, Source] = Field(min_length=1)


AnswerField = Annotated[
    Annotated[FileOf, Tag("file")]
    | Annotated[FilesOf, Tag("files")]
    | Annotated[Told, Tag("parameter")]
    | Annotated[Measured, Tag("measure")]
    | Annotated[Each, Tag("each")],
    Discriminator(
        _only_key, custom_error_type="source", custom_error_message=f"must be {SOURCES}, or {{ each = {{ … }} }}"
    ),
]
