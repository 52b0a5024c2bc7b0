"""Dicts of the Modal emulator, through the real client."""

from collections.abc import Iterator

import pytest

from emulators.modal import ModalEmulator
from tests.emulators.modal_cli import ask

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def platform() -> Iterator[ModalEmulator]:
    with ModalEmulator() as emulator:
        yield emulator


def test_what_one_client_wrote_another_one_reads(platform: ModalEmulator):
    ask(platform, 'modal.Dict.from_name("notes", create_if_missing=True)["a"] = {"b": [1, 2]}; answer = None')

    assert ask(platform, 'answer = modal.Dict.from_name("notes")["a"]') == {"b": [1, 2]}


def test_of_several_who_claim_a_key_one_succeeds(platform: ModalEmulator):
    code = """
from concurrent.futures import ThreadPoolExecutor
claims = modal.Dict.from_name("claims", create_if_missing=True)
with ThreadPoolExecutor(8) as pool:
    won = list(pool.map(lambda number: claims.put("key", number, skip_if_exists=True), range(8)))
answer = [sum(won), claims["key"] == won.index(True), claims.put("key", 9), claims["key"]]
"""

    assert ask(platform, code)[:2] == [1, True]
    assert ask(platform, 'answer = modal.Dict.from_name("claims")["key"]') == 9


def test_entries_are_counted_listed_taken_out_and_cleared(platform: ModalEmulator):
    code = """
found = modal.Dict.from_name("many", create_if_missing=True)
found.update({"a": 1, "b": 2, "c": 3})
taken = found.pop("b")
answer = [found.len(), sorted(found.keys()), sorted(found.items()), taken, found.pop("b", None), found.contains("a")]
found.clear()
answer.append(found.len())
"""

    assert ask(platform, code) == [2, ["a", "c"], [["a", 1], ["c", 3]], 2, None, True, 0]


def test_a_dict_that_nobody_made_is_not_found(platform: ModalEmulator):
    code = """
try:
    modal.Dict.from_name("none").get("a")
except modal.exception.NotFoundError as error:
    answer = str(error)
"""

    assert "none" in ask(platform, code)


def test_entries_that_nobody_touched_for_long_are_gone(platform: ModalEmulator):
    ask(platform, 'modal.Dict.from_name("old", create_if_missing=True)["a"] = 1; answer = None')

    platform.forget("old")

    assert ask(platform, 'answer = modal.Dict.from_name("old").get("a", "gone")') == "gone"
