"""The plan: lock, receipts and disk in, actions out."""

import pytest

from comfyport.models import plan
from comfyport.models.volume import FileState, Receipt
from tests.conftest import entry

A, B = "a" * 64, "b" * 64
RECEIPT = Receipt(size=10, mtime_ns=5, sha256=A, source="here", at=0.0)


@pytest.mark.parametrize(
    ("state", "receipt", "kind"),
    [
        (None, None, "missing"),
        (None, RECEIPT, "missing"),
        (FileState(10, 5), RECEIPT, "have"),
        (FileState(10, 5), None, "unverified"),
        (FileState(10, 6), RECEIPT, "unverified"),
        (FileState(11, 5), RECEIPT, "changed"),
        (FileState(10, 5), Receipt(10, 5, B, "here", 0.0), "changed"),
    ],
)
def test_an_entry_needs(state: FileState | None, receipt: Receipt | None, kind: str):
    made = plan.make([entry(size=10, sha256=A)], state=lambda path: state, receipt=lambda path: receipt)

    assert made.actions[0].kind == kind


def test_counts_the_bytes_of_missing_and_changed_files_only():
    entries = [entry(name="missing", size=7), entry(name="changed", size=20), entry(name="have", size=10)]
    states = {"checkpoints/changed": FileState(10, 5), "checkpoints/have": FileState(10, 5)}

    made = plan.make(entries, state=states.get, receipt=lambda path: RECEIPT)

    assert made.bytes_to_fetch == 27
    assert [action.entry.name for action in made.work] == ["missing", "changed"]


def test_an_entry_that_nobody_could_resolve_is_held_against_its_receipt():
    made = plan.make([entry()], state=lambda path: FileState(10, 5), receipt=lambda path: RECEIPT)

    assert made.actions[0].kind == "have"
