"""Checks a Dockerfile on disk, with the context that Modal's client would upload."""

from pathlib import Path

from modal import FilePatternMatcher

from emulators.modal_builder.context import Folder
from emulators.modal_builder.rules import Problem, problems


def check(dockerfile: Path, context: Path) -> list[Problem]:
    """The problems of a Dockerfile that is built with the folder `context`. Raises OSError, UnicodeDecodeError."""
    lines = dockerfile.read_text(encoding="utf-8").splitlines()
    return problems(lines, Folder(context, _ignored(dockerfile, context)))


def _ignored(dockerfile: Path, context: Path) -> FilePatternMatcher:
    """What .dockerignore keeps from the build, from where Modal's client takes it, read by the client's own rules."""
    places = (dockerfile.with_name(f"{dockerfile.name}.dockerignore"), dockerfile.with_name(".dockerignore"))
    within = [place for place in places if place.absolute().is_relative_to(context.absolute())]
    file = next((place for place in (*within, context / ".dockerignore") if place.is_file()), None)
    return FilePatternMatcher.from_file(file) if file else FilePatternMatcher()
