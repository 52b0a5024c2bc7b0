"""The errors: each class has a code of its own, and stands in docs/errors.md with what to do about it."""

import inspect
from collections.abc import Iterator
from pathlib import Path

from comfyport import errors
from comfyport.errors import ComfyportError

DOCUMENT = Path(__file__).parents[1] / "docs" / "errors.md"


def classes(parent: type[ComfyportError] = ComfyportError) -> Iterator[type[ComfyportError]]:
    yield parent
    for child in parent.__subclasses__():
        yield from classes(child)


def test_every_code_is_given_once():
    codes = [found.code for found in classes()]

    assert len(codes) == len(set(codes))


def test_every_error_is_documented_and_no_other():
    documented = {line.split("`")[1] for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if "| `" in line}

    assert documented == {found.code for found in classes()}


def test_the_tree_in_the_docstring_names_every_class():
    assert errors.__doc__ is not None
    missing = [found.__name__ for found in classes() if found.__name__ not in errors.__doc__]

    assert missing == []


def test_every_error_says_what_it_is():
    assert all(inspect.getdoc(found) for found in classes())
