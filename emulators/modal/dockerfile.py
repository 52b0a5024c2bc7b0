"""Reads Dockerfile commands as far as Modal's image builder would refuse them.

Sources: Modal's guide to existing images (what the builder does not implement) and the 1.6.4 client (only
files that a COPY names are uploaded; ADD and `RUN --mount=type=bind` therefore find nothing).
"""

import re
import shlex
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

_NOT_BUILT = frozenset({"ONBUILD", "STOPSIGNAL", "VOLUME"})
_DEFAULT_VALUE = re.compile(r"\$\{\w+:[-+]")
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_HEREDOC = re.compile(r"<<-?['\"]?(\w+)")


@dataclass(frozen=True)
class Instruction:
    """One instruction: `line` counts from 1, `text` is everything after the word, on one line."""

    line: int
    word: str
    text: str


@dataclass(frozen=True)
class Problem:
    """Why the build would end at a line."""

    line: int
    text: str
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.text}\n{self.reason}"


def instructions(commands: Sequence[str]) -> Iterator[Instruction]:
    """Joins continued lines, drops comments and the bodies of here-documents."""
    parts: list[str] = []
    first = 0
    heredocs: list[str] = []
    for number, raw in enumerate("\n".join(commands).split("\n"), start=1):
        stripped = raw.strip()
        if heredocs:
            if stripped == heredocs[0]:
                heredocs.pop(0)
            continue
        if not stripped or stripped.startswith("#"):
            continue
        first = first if parts else number
        parts.append(stripped.removesuffix("\\").strip())
        if stripped.endswith("\\"):
            continue
        word, _, text = " ".join(parts).partition(" ")
        heredocs = _HEREDOC.findall(text) if word.upper() in {"RUN", "COPY"} else []
        yield Instruction(first, word.upper(), text.strip())
        parts = []


def first_problem(commands: Sequence[str], uploaded: Collection[str]) -> Problem | None:
    """The first instruction that the real builder would fail on.

    `uploaded` are the paths in the build context, relative to its root.
    """
    for step in instructions(commands):
        reason = _refusal(step, uploaded)
        if reason:
            return Problem(step.line, f"{step.word} {step.text}", reason)
    return None


def environment(commands: Sequence[str], inherited: dict[str, str]) -> dict[str, str]:
    """The variables that ENV instructions set, on top of `inherited`, with `$NAME` filled in."""
    values = dict(inherited)
    for step in instructions(commands):
        if step.word == "ENV":
            values.update(_assignments(step.text, values))
    return values


def last(commands: Sequence[str], word: str) -> str | None:
    """What the last instruction of this kind says (ENTRYPOINT, WORKDIR, FROM), if there is one."""
    found = [step.text for step in instructions(commands) if step.word == word]
    return found[-1] if found else None


def _refusal(step: Instruction, uploaded: Collection[str]) -> str | None:
    if step.word in _NOT_BUILT:
        return f"Modal's image builder does not implement {step.word}."
    if step.word == "ENV" and _DEFAULT_VALUE.search(step.text):
        return "Modal's image builder does not support default values (${NAME:-value}) in ENV."
    if step.word == "COPY":
        return _copy_refusal(step.text, uploaded)
    if step.word == "ADD" and not step.text.split()[0].startswith(("http://", "https://", "--")):
        return "ADD finds no local files: the Modal client uploads what COPY names. Use COPY."
    if step.word == "RUN" and "type=bind" in step.text and "from=" not in step.text:
        return "RUN --mount=type=bind finds no context: the Modal client uploads what COPY names."
    return None


def _copy_refusal(text: str, uploaded: Collection[str]) -> str | None:
    if _HEREDOC.search(text):
        return "Modal does not build a COPY with a here-document."
    words = shlex.split(text)
    flags = [word for word in words if word.startswith("--")]
    sources = [word for word in words if not word.startswith("--")][:-1]
    if any(flag.startswith("--from=") for flag in flags):
        return None
    missing = [source for source in sources if not _is_uploaded(source, uploaded)]
    return f"{', '.join(missing)}: not found in the build context." if missing else None


def _is_uploaded(source: str, uploaded: Collection[str]) -> bool:
    wanted = str(PurePosixPath(source.lstrip("/")))
    if wanted == ".":
        return bool(uploaded)
    return any(
        fnmatchcase(str(candidate), wanted)
        for path in uploaded
        for candidate in (PurePosixPath(path), *PurePosixPath(path).parents)
    )


def _assignments(text: str, known: dict[str, str]) -> dict[str, str]:
    words = shlex.split(text)
    if words and "=" not in words[0]:
        name, _, value = text.partition(" ")
        return {name: _fill_in(value.strip(), known)}
    pairs = (word.partition("=") for word in words)
    return {name: _fill_in(value, known) for name, _, value in pairs}


def _fill_in(value: str, known: dict[str, str]) -> str:
    return _VARIABLE.sub(lambda match: known.get(match[1] or match[2], ""), value)
