"""What pydantic finds wrong, as pairs of where and what."""

from collections.abc import Callable

from pydantic import ValidationError

Place = tuple[int | str, ...]
MOST_PROBLEMS = 30


def told(error: ValidationError, place: Callable[[Place], Place] = lambda loc: loc) -> list[tuple[str, str]]:
    """Where a value is wrong, and how, for each that is; what was given is not repeated, it may be a picture.

    `place` makes of pydantic's path to a value the one that people know.
    """
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    return [(".".join(map(str, place(found["loc"]))), found["msg"]) for found in problems[:MOST_PROBLEMS]]
