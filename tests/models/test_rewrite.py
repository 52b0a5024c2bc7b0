"""A JSON text that is changed: it says what is wanted, and the rest of it stays as it was."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyport.models.rewrite import rewrite

ROOT = Path(__file__).parents[2]

BY_HAND = """{
    "version": 1,
    "models": [
        {"name": "a",   "groups": ["x", "y"]},

        {"name": "b", "size": 2}
    ]
}
"""

documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from('abcdé"'), inner, max_size=4),
    max_leaves=12,
)


def strictly_same(one: Any, other: Any) -> bool:
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


@given(documents, documents, st.sampled_from([None, 0, 2, "\t"]), st.sampled_from(["\n", "\r\n"]))
def test_whatever_stood_there_it_says_what_is_wanted(before: Any, wanted: Any, indent: Any, newline: str):
    text = json.dumps(before, indent=indent).replace("\n", newline) + newline

    assert strictly_same(json.loads(rewrite(text, wanted)), wanted)


@given(documents, st.sampled_from([None, 0, 3, "\t"]))
def test_what_it_says_already_changes_nothing(document: Any, indent: Any):
    text = json.dumps(document, indent=indent)

    assert rewrite(text, json.loads(text)) == text


def test_a_new_entry_has_the_layout_of_its_neighbours():
    wanted = json.loads(BY_HAND)
    wanted["models"].append({"name": "c", "groups": ["z"]})

    assert rewrite(BY_HAND, wanted) == BY_HAND.replace(
        '"size": 2}\n', '"size": 2},\n\n        {"name": "c", "groups": ["z"]}\n'
    )


def test_a_new_entry_in_the_shipped_lock_looks_as_if_it_had_always_been_there():
    text = (ROOT / "models.lock.json").read_text(encoding="utf-8")
    wanted = json.loads(text)
    wanted["models"].append(wanted["models"][0] | {"name": "other"})

    assert rewrite(text, wanted) == json.dumps(wanted, indent=2, ensure_ascii=False) + "\n"


def test_an_entry_that_goes_takes_its_comma_with_it():
    wanted = json.loads(BY_HAND)
    del wanted["models"][1]

    assert rewrite(BY_HAND, wanted) == BY_HAND.replace(',\n\n        {"name": "b", "size": 2}', "")


def test_a_field_is_changed_where_it_stands():
    wanted = json.loads(BY_HAND)
    wanted["models"][1]["size"] = 3

    assert rewrite(BY_HAND, wanted) == BY_HAND.replace('"size": 2', '"size": 3')


def test_a_new_field_comes_behind_the_one_that_it_follows():
    wanted = json.loads(BY_HAND)
    wanted["models"][0] = {"name": "a", "size": 1, "groups": ["x", "y"]}

    assert rewrite(BY_HAND, wanted) == BY_HAND.replace('"name": "a",   ', '"name": "a",   "size": 1,   ')


@pytest.mark.parametrize(
    ("empty", "filled"),
    [
        ('{"models": []}', '{"models": [{"a": 1}]}'),
        ('{\n  "models": []\n}\n', '{\n  "models": [\n    {\n      "a": 1\n    }\n  ]\n}\n'),
        ('{\r\n\t"models": [ ]\r\n}', '{\r\n\t"models": [\r\n\t\t{\r\n\t\t\t"a": 1\r\n\t\t}\r\n\t]\r\n}'),
    ],
)
def test_the_first_entry_follows_the_texts_own_style(empty: str, filled: str):
    assert rewrite(empty, {"models": [{"a": 1}]}) == filled


def test_of_a_key_that_stands_twice_the_last_one_counts():
    assert rewrite('{"a": 1, "a": 2, "b": 3}', {"a": 4, "b": 3}) == '{"a": 1, "a": 4, "b": 3}'


@pytest.mark.parametrize(
    ("text", "wanted", "changed"),
    [
        ("[1, 1, 2, 1]", [1, 1], "[1, 1]"),
        ("[2, 1, 2]", [1], "[1]"),
        ("[1, 2, 3]", [2, 1], "[2, 1]"),
        ('{"a": 1}', {"a": True}, '{"a": true}'),
        ('{"a": 1}', {"a": 1.0}, '{"a": 1.0}'),
        ('{"a": 1, "b": 2}', {"c": 3, "b": 2}, '{"c": 3, "b": 2}'),
        ('{"a": 1, "b": 2}', {"a": 1, "c": 3}, '{"a": 1, "c": 3}'),
        ('{"a": [1]}', {}, "{}"),
    ],
)
def test_what_looks_alike_is_told_apart(text: str, wanted: Any, changed: str):
    assert rewrite(text, wanted) == changed
