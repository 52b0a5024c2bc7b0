"""The plan: lock, receipts and disk in, actions out."""

import pytest

from comfyport.models import plan
from comfyport.models.volume import FileState, Member, Receipt
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


def test_each_group_has_its_share_and_content_in_two_groups_is_counted_in_both():
    entries = [
        entry(name="a", size=7, sha256=A, groups=["x", "y"]),
        entry(name="twin", size=7, sha256=A, groups=["x"]),
        entry(name="have", size=10, groups=["y"]),
        entry(name="none", size=3),
    ]

    made = plan.make(entries, state={"checkpoints/have": FileState(10, 5)}.get, receipt=lambda path: RECEIPT)

    assert [(share.group, share.files, share.have, share.bytes, share.bytes_to_fetch) for share in made.by_group] == [
        ("", 1, 0, 3, 3),
        ("x", 2, 0, 14, 7),
        ("y", 2, 1, 17, 7),
    ]
    assert made.bytes_to_fetch == 10


def test_orphans_are_managed_paths_that_no_entry_names_whatever_its_group_or_case():
    receipts = {"x/a.zip": Receipt(0, 0, A, "here", 0.0, members=(Member("x/det.onnx", 1, 1),))}
    archive = entry("x", "a.zip", archive={"format": "zip", "into": "x"})
    managed = ["x/a.zip", "x/det.onnx", "checkpoints/A.safetensors", "loras/old"]

    made = plan.make([archive], state=lambda path: None, receipt=receipts.get, managed=managed, lock=[archive, entry()])

    assert made.orphaned == ("loras/old",)


def test_an_archive_that_goes_elsewhere_now_is_unpacked_anew():
    receipt = Receipt(0, 0, A, "here", 0.0, members=(Member("x/det.onnx", 1, 1),))
    moved = entry("x", "a.zip", archive={"format": "zip", "into": "xy"})

    made = plan.make([moved], state=lambda path: FileState(1, 1), receipt=lambda path: receipt)

    assert (made.actions[0].kind, made.actions[0].reason) == (
        "changed",
        "it was unpacked into another folder than the lock says",
    )
