"""The commands of a document: what stands in its ```sh blocks, a statement at a time."""

import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DOCUMENTS = ("README.md", *sorted(str(file.relative_to(ROOT)) for file in (ROOT / "docs").glob("*.md")))


@dataclass(frozen=True)
class Command:
    """A statement of the shell, its continued lines included, and the line that it begins at."""

    document: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}: {self.text}"


def commands(document: str) -> list[Command]:
    """The commands of a document, in order; lines that are empty or a comment are none."""
    found: list[Command] = []
    inside, begun, at = False, "", 0
    for number, line in enumerate((ROOT / document).read_text().splitlines(), start=1):
        stripped = line if _is_open(begun) else line.strip()
        if stripped.startswith("```"):
            inside = stripped == "```sh"
            continue
        if not inside or (not begun and (not stripped or stripped.startswith("#"))):
            continue
        at = at if begun else number
        begun += stripped
        if begun.endswith("\\"):
            begun = begun[:-1]
            continue
        if _is_open(begun):
            begun += "\n"
            continue
        found.append(Command(document, at, begun))
        begun = ""
    return found


def _is_open(text: str) -> bool:
    """Whether a quotation in it has no end yet."""
    try:
        shlex.split(text, comments=True)
    except ValueError:
        return True
    return False
