"""The model of a recipe's answer, for `/docs`: nothing is parsed with it."""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, create_model

from comfyport.recipes.sources import AnswerField, Each, FileOf, FilesOf, Source, Told

Kind = Callable[[str], Any]


class File(BaseModel):
    """A file that the workflow put out: `data` is base64, or where it lies if it was delivered elsewhere."""

    filename: str
    type: str = Field(examples=["base64"], description="`base64`, `s3_url`, `volume`, or `text`.")
    data: str
    node_id: str
    media_type: str
    size: int | None = Field(None, description="Bytes.")
    sha256: str | None = None


class Failed(BaseModel):
    """What went wrong with one of several: null where nothing did."""

    error: str | None = Field(None, description="What went wrong with this one, in words.")
    error_code: str | None = None
    details: dict[str, Any] | None = None


def answer_model(title: str, answer: Mapping[str, AnswerField], kind_of: Kind) -> type[BaseModel]:
    """The model of an answer with these fields; `kind_of` tells the type of a parameter's value."""
    fields: dict[str, Any] = {}
    for number, (name, source) in enumerate(answer.items()):
        if isinstance(source, Each):
            kind: Any = list[_element(title, source, kind_of)]  # type: ignore[misc]
            told = "In the order of the request; one that failed has `error` and does not stop the others."
        else:
            kind, told = _kind(source, kind_of)
        fields[f"field_{number}"] = (kind, Field(..., alias=name, title=name, description=told))
    fields["timings"] = (dict[str, float], Field(..., description="Seconds by phase, of all runs together."))
    fields["errors"] = (list[str], Field([], description="What could not be delivered of a run that went well."))
    return _made(f"{title}Answer", f"What the recipe answers. {_OF_FAILURE}", fields)


_OF_FAILURE = "A failure is `error`, `error_code` and `details`."


def _element(title: str, each: Each, kind_of: Kind) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    for number, (name, source) in enumerate(each.each.items()):
        kind, told = _kind(source, kind_of)
        optional = kind if isinstance(source, Told) else kind | None
        fields[f"field_{number}"] = (optional, Field(..., alias=name, title=name, description=told))
    return _made(f"{title}Result", "What became of one element.", fields, base=Failed)


def _kind(source: Source, kind_of: Kind) -> tuple[Any, str]:
    match source:
        case FileOf():
            return str, "Base64, or the address or path that it was delivered to."
        case FilesOf():
            return list[File], "The files."
        case Told(parameter=name):
            return kind_of(name), f"`{name}` as it was used."
        case _:
            return float, "Seconds that all of it took, the queue not counted."


def _made(title: str, description: str, fields: dict[str, Any], base: type[BaseModel] | None = None) -> type[BaseModel]:
    config = {} if base else {"__config__": ConfigDict(protected_namespaces=())}
    made: type[BaseModel] = create_model(title, __base__=base, __doc__=description, **config, **fields)  # type: ignore[call-overload]
    return made
