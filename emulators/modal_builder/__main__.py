"""`python -m emulators.modal_builder [DOCKERFILE]`: says line by line what Modal would not build, and what to do.

It ends with 0 if there is nothing, with 1 if there is something, with 2 if the file cannot be read.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from emulators.modal_builder.check import check


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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
