"""`python -m emulators.modal_builder [DOCKERFILE]`: says line by line what Modal would not build, and what to do.

It ends with 0 if there is nothing, with 1 if there is something, with 2 if the file cannot be read.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from modal import FilePatternMatcher

from emulators.modal_builder.context import Folder
from emulators.modal_builder.rules import Problem, problems


def check(dockerfile: Path, context: Path) -> list[Problem]:
    """The problems of a Dockerfile that is built with the folder `context`. Raises OSError, UnicodeDecodeError."""
    lines = dockerfile.read_text(encoding="utf-8").splitlines()
    return problems(lines, Folder(context, _ignored(dockerfile, context)))


def main(arguments: Sequence[str]) -> int:
    """The program; its exit status."""
    parser = argparse.ArgumentParser(prog="python -m emulators.modal_builder", description=__doc__)
    parser.add_argument("dockerfile", nargs="?", type=Path, default=Path("Dockerfile"))
    parser.add_argument("--context", type=Path, metavar="DIR", help="what COPY is relative to; the Dockerfile's folder")
    options = parser.parse_args(arguments)
    try:
        found = check(options.dockerfile, options.context or options.dockerfile.parent)
    except (OSError, UnicodeDecodeError) as error:
        print(f"{options.dockerfile} cannot be read: {error}", file=sys.stderr)
        return 2
    for problem in found:
        print(
            f"{options.dockerfile}:{problem.line}: {problem.construct} ({problem.effect}): "
            f"{problem.reason} {problem.advice}"
        )
    return 1 if found else 0


def _ignored(dockerfile: Path, context: Path) -> FilePatternMatcher:
    """What .dockerignore keeps from the build, from where Modal's client takes it, read by the client's own rules."""
    places = (dockerfile.with_name(f"{dockerfile.name}.dockerignore"), dockerfile.with_name(".dockerignore"))
    within = [place for place in places if place.absolute().is_relative_to(context.absolute())]
    file = next((place for place in (*within, context / ".dockerignore") if place.is_file()), None)
    return FilePatternMatcher.from_file(file) if file else FilePatternMatcher()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
