"""Reads a Dockerfile: its instructions with their lines, its stages, the variables that it sets."""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
HEREDOC = re.compile(r"<<-?['\"]?(\w+)")


@dataclass(frozen=True)
class Instruction:
    """One instruction: `line` counts from 1, `text` is everything after the word, on one line."""

    line: int
    word: str
    text: str

    def __str__(self) -> str:
        return f"{self.word} {self.text}"


@dataclass(frozen=True)
class Stage:
    """What FROM begins: `base` is an image or an earlier stage, `steps` are the instructions after FROM."""

    origin: Instruction
    name: str
    base: str
    steps: tuple[Instruction, ...]


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
        heredocs = HEREDOC.findall(text) if word.upper() in {"RUN", "COPY"} else []
        yield Instruction(first, word.upper(), text.strip())
        parts = []


def built_stages(commands: Sequence[str]) -> list[Stage]:
    """The last stage and those that it stands on, the lowest first; empty without FROM."""
    stages = _stages(commands)
    if not stages:
        return []
    chain = [stages[-1]]
    while below := next((stage for stage in stages if stage.name and stage.name == chain[0].base), None):
        if below in chain:
            break
        chain.insert(0, below)
    return chain


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


def flags_and_words(text: str) -> tuple[list[str], list[str]]:
    """What COPY and ADD are given: `--flags`, then sources and target."""
    words = shlex.split(text)
    return [word for word in words if word.startswith("--")], [word for word in words if not word.startswith("--")]


def _stages(commands: Sequence[str]) -> list[Stage]:
    found: list[Stage] = []
    for step in instructions(commands):
        if step.word == "FROM":
            base, *alias = [word for word in step.text.split() if not word.startswith("--")] or [""]
            name = alias[1] if len(alias) == 2 and alias[0].upper() == "AS" else ""
            found.append(Stage(step, name, base, ()))
        elif found:
            stage = found[-1]
            found[-1] = Stage(stage.origin, stage.name, stage.base, (*stage.steps, step))
    return found


def _assignments(text: str, known: dict[str, str]) -> dict[str, str]:
    words = shlex.split(text)
    if words and "=" not in words[0]:
        name, _, value = text.partition(" ")
        return {name: _fill_in(value.strip(), known)}
    pairs = (word.partition("=") for word in words)
    return {name: _fill_in(value, known) for name, _, value in pairs}


def _fill_in(value: str, known: dict[str, str]) -> str:
    return _VARIABLE.sub(lambda match: known.get(match[1] or match[2], ""), value)
