"""The format of nodes.lock.json: which custom nodes ComfyUI shall have, pinned.

    {"version": 1, "nodes": [
      {"name": "rgthree-comfy", "source": {"type": "git", "url": "https://example.com/rgthree-comfy", "commit": "…"}},
      {"name": "comfyui-kjnodes", "source": {"type": "registry", "id": "comfyui-kjnodes", "version": "1.1.6"}}]}

`name` is the node's folder below `custom_nodes/`. `schema.py` makes nodes.lock.schema.json, for editors, from the
classes here.
"""

import json
import os
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from comfyport.errors import InvalidLock
from comfyport.nodes.addresses import git_url

COMMIT = r"^[0-9a-f]{40}$"


def _folder_name(text: str) -> str:
    # ComfyUI skips folders that end so, and Windows drops a dot at the end.
    if text.lower().endswith(".disabled") or text.endswith(".") or text.lower() == "__pycache__":
        raise ValueError("is no name that ComfyUI reads a custom node from")
    return text


# ComfyUI imports the folder as a Python module by its path, so that hyphens and dots are fine.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$"), AfterValidator(_folder_name)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GitSource(_Strict):
    """A git repository at a commit, with its submodules."""

    type: Literal["git"]
    url: Annotated[
        str,
        AfterValidator(git_url),
        Field(
            json_schema_extra={"pattern": "^(https|ssh|http|file)://"},
            description="https:// or ssh://, without a password; http:// and file:// only where they are allowed.",
        ),
    ]
    commit: Annotated[str, Field(pattern=COMMIT, description="40 hex digits.")]

    @property
    def pin(self) -> str:
        """What tells this content from any other."""
        return f"git:{self.commit}"


class RegistrySource(_Strict):
    """A version of a node in ComfyUI's registry (registry.comfy.org)."""

    type: Literal["registry"]
    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$", description="The node's id there.")]
    version: Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+-]{0,63}$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = Field(
        default=None, description="Of the archive that the registry delivers; `comfyport nodes add` notes it."
    )

    @property
    def pin(self) -> str:
        """What tells this content from any other."""
        return f"registry:{self.id}@{self.version}" + (f"#{self.sha256}" if self.sha256 else "")


Source = Annotated[GitSource | RegistrySource, Field(discriminator="type")]


class Node(_Strict):
    """One custom node: its folder and where it comes from."""

    name: Annotated[Name, Field(description="The folder below custom_nodes/.")]
    source: Source


class Lock(_Strict):
    """The custom nodes that comfyport brings to ComfyUI, pinned."""

    schema_file: str | None = Field(default=None, alias="$schema", description="For editors.")
    version: Literal[1]
    nodes: tuple[Node, ...]

    @model_validator(mode="after")
    def _one_entry_per_folder(self) -> "Lock":
        seen: set[str] = set()
        for node in self.nodes:
            # A volume may ignore case.
            if node.name.casefold() in seen:
                raise ValueError(f"{node.name} is listed twice")
            seen.add(node.name.casefold())
        return self

    def with_nodes(self, added: Iterable[Node]) -> "Lock":
        """This lock with more nodes; one of the same name takes the other's place. Raises ValueError."""
        new = {node.name.casefold(): node for node in added}
        kept = [new.pop(node.name.casefold(), node) for node in self.nodes]
        return self._holding((*kept, *new.values()))

    def without(self, names: Iterable[str]) -> "Lock":
        """This lock without the nodes of these names."""
        gone = set(names)
        return self._holding(tuple(node for node in self.nodes if node.name not in gone))

    def _holding(self, nodes: tuple[Node, ...]) -> "Lock":
        return Lock.model_validate({"$schema": self.schema_file, "version": self.version, "nodes": nodes})


def load(file: Path) -> Lock:
    """Reads and checks a lock. Raises InvalidLock, naming file, node and field."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InvalidLock(
            str(file), ["the file does not exist; name another with COMFYPORT_NODES_LOCK or --lock"]
        ) from None
    except OSError as error:
        raise InvalidLock(str(file), [f"it cannot be read: {os.strerror(error.errno or 0)}"]) from None
    except ValueError as error:
        raise InvalidLock(str(file), [f"it is not JSON: {error}"]) from None
    try:
        return Lock.model_validate(document)
    except ValidationError as error:
        raise InvalidLock(str(file), [_problem(problem, document) for problem in error.errors()]) from None


def save(lock: Lock, file: Path) -> None:
    """Writes a lock, whole or not at all. Raises OSError."""
    text = json.dumps(lock.model_dump(by_alias=True, exclude_none=True), indent=2, ensure_ascii=False)
    part = file.with_name(f".{file.name}.{uuid.uuid4().hex}")
    try:
        part.write_text(text + "\n", encoding="utf-8")
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def _problem(problem: Any, document: Any) -> str:
    """One line for one problem: the node by its name where it has one, then the field and what is wrong."""
    place, where = list(problem["loc"]), ""
    if len(place) > 1 and place[0] == "nodes" and isinstance(place[1], int):
        node = document["nodes"][place[1]]
        name = node.get("name") if isinstance(node, dict) else None
        where = f"nodes[{place[1]}]" + (f" ({name})" if isinstance(name, str) else "")
        place = place[2:]
    reason = problem["msg"].removeprefix("Value error, ")
    return ": ".join(part for part in (where, ".".join(str(step) for step in place), reason) if part)
