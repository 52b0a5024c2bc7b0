"""Which Python packages a custom node asks for: its requirements.txt, else the dependencies in its pyproject.toml."""

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from comfyport.errors import NodeRequirements

MAX_BYTES = 256 << 10
_INCLUDE = re.compile(r"(?:-r|--requirement)[ =]*(\S+)")
_INDEX = re.compile(r"(?:-i|--index-url|--extra-index-url)[ =]*(\S+)")
_LOCAL = re.compile(r"(\.|/|~|file:|-e\b|--editable\b)|.*\s@\s*file:", re.IGNORECASE)


@dataclass(frozen=True)
class Requirements:
    """What one node asks for: requirement lines, and indexes to look in besides pip's own."""

    lines: tuple[str, ...]
    indexes: tuple[str, ...] = ()


def read(tree: Path, name: str) -> Requirements:
    """What the node in the folder `tree` asks for. Raises NodeRequirements if that cannot be read or is refused."""
    lines: list[str] = []
    indexes: list[str] = []
    if (tree / "requirements.txt").is_file():
        _read_file(tree / "requirements.txt", tree, name, lines, indexes, depth=0)
    elif (tree / "pyproject.toml").is_file():
        lines += _project_dependencies(tree / "pyproject.toml", name)
    return Requirements(tuple(lines), tuple(dict.fromkeys(indexes)))


def read_all(names: Iterable[str], nodes: Path) -> tuple[dict[str, Requirements], dict[str, NodeRequirements]]:
    """What the nodes of these names in the folder `nodes` ask for; and why that cannot be told of some."""
    asked: dict[str, Requirements] = {}
    refused: dict[str, NodeRequirements] = {}
    for name in names:
        try:
            asked[name] = read(nodes / name, name)
        except NodeRequirements as error:
            refused[name] = error
    return asked, refused


def _read_file(file: Path, tree: Path, name: str, lines: list[str], indexes: list[str], *, depth: int) -> None:
    if depth > 4 or not file.resolve().is_relative_to(tree.resolve()):
        raise NodeRequirements(name, f"{file.name} is included from outside of the node, or in a circle")
    for line in _plain_lines(_text(file, name)):
        if include := _INCLUDE.fullmatch(line):
            _read_file(file.parent / include[1], tree, name, lines, indexes, depth=depth + 1)
        elif index := _INDEX.fullmatch(line):
            # Another index in the place of pip's own would be asked for the packages of every node.
            indexes.append(_checked_index(index[1], name))
        elif _LOCAL.match(line):
            raise NodeRequirements(name, f"{file.name} asks for {line!r}, a path on this machine")
        elif not line.startswith("-"):
            # Other options (--pre, --no-binary, hashes) would be everybody's, once all are resolved together.
            lines.append(re.sub(r"\s+--hash[ =]\S+", "", line))


def _plain_lines(text: str) -> list[str]:
    """The lines without comments, continued ones joined, as pip reads them."""
    joined = re.sub(r"\\\r?\n", " ", text)
    stripped = (re.sub(r"(^|\s)#.*", "", line).strip() for line in joined.splitlines())
    return [line for line in stripped if line]


def _project_dependencies(file: Path, name: str) -> list[str]:
    try:
        listed = tomllib.loads(_text(file, name)).get("project", {}).get("dependencies", [])
    except (tomllib.TOMLDecodeError, AttributeError) as error:
        raise NodeRequirements(name, f"{file.name} cannot be read: {error}") from None
    if not isinstance(listed, list) or not all(isinstance(line, str) for line in listed):
        raise NodeRequirements(name, f"{file.name} has dependencies that are no list of names")
    if refused := next((line for line in listed if _LOCAL.match(line) or line.startswith("-")), None):
        raise NodeRequirements(name, f"{file.name} asks for {refused!r}, a path or an option")
    return [line.strip() for line in listed if line.strip()]


def _checked_index(url: str, name: str) -> str:
    if not url.startswith("https://") or "@" in url:
        raise NodeRequirements(name, f"it names the index {url.split('@')[-1]}, which is not plain https")
    return url


def _text(file: Path, name: str) -> str:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise NodeRequirements(name, f"{file.name} cannot be read: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise NodeRequirements(name, f"{file.name} is larger than {MAX_BYTES >> 10} KiB")
    return content.decode("utf-8-sig", errors="replace")
