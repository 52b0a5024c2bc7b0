"""Adds models to the Volume and the lock, or takes them out of both: at once known to whoever starts from now on."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from comfyport import supply
from comfyport.errors import ComfyportError, UnusableReference
from comfyport.models import adding, amendments, gc, plan, references
from comfyport.models.access import Access
from comfyport.models.lock import Entry, Lock, parse
from comfyport.models.lock_file import LockFile
from comfyport.models.paths import folded, no_links_on_the_way, safe_path
from comfyport.models.resolve import Resolver
from comfyport.models.volume import Volume
from comfyport.serve.modal_service import sharing
from comfyport.serve.modal_service.housekeeping.downloads import Site, bring
from comfyport.serve.modal_service.housekeeping.report import Report, amount
from comfyport.settings import Settings

Request = dict[str, Any]
# The lock stays where the person is who asks; only its text has come to this container.
LOCK = Path("models.lock.json")


def add_models(site: Site, requests: Sequence[Request], lock: str) -> Report:
    """Pins, fetches and verifies what is asked for, and notes what has come in the lock and on the Volume.

    A request names `repo`, `file` and `revision`, or an `address`; where the file goes, `directory` and `name`; its
    `groups`; and what is known of it, `sha256` and `auth`. One that fails stops no other. Raises InvalidLock.
    """
    file, report = LockFile(LOCK, lock, parse(lock, LOCK), lock), Report()
    wanted = _pinned(requests, file, report)
    with sharing.up_to_date(site.volume):
        bring(wanted, site, report)
        place = supply.volume(Settings.load())
        made = plan.make(wanted, state=place.state, receipt=place.receipt)
        added = [_completed(action.entry, place) for action in made.actions if action.kind == "have"]
        for entry in added:
            amendments.add(entry, file.lock, place)
    for entry in added:
        file = adding.add(file, entry).file.replacing([entry])
    report.lock = file.text
    report.changed = bool(added)
    return report


def find_model(site: Site, name: str, lock: str) -> Report:
    """What `delete_model` would remove. Raises UnusableReference."""
    sharing.reload(site.volume)
    place = supply.volume(Settings.load())
    path, removal = _removal(name, parse(lock, LOCK), place)
    report = Report(changed=True, lines=list(removal.files) or [f"{path}, which is in the lock only"])
    report.say(f"{amount(removal.bytes)} in all")
    return report


def delete_model(site: Site, name: str, lock: str) -> Report:
    """Removes a model from the Volume and the lock; nobody fetches it again. Raises UnusableReference."""
    file = LockFile(LOCK, lock, parse(lock, LOCK), lock)
    with sharing.up_to_date(site.volume):
        place = supply.volume(Settings.load())
        path, removal = _removal(name, file.lock, place)
        gc.remove(removal, place)
        amendments.take_out(path, file.lock, place)
    gone = [entry for entry in file.lock.models if folded(entry.path) == folded(path)]
    return Report(changed=True, lock=adding.remove(file, gone).text, lines=[f"removed {path}, {amount(removal.bytes)}"])


def _pinned(requests: Sequence[Request], file: LockFile, report: Report) -> list[Entry]:
    """The entries that are asked for, as they would stand in the lock; what cannot be pinned is told."""
    access = supply.access(Settings.load())
    resolver = Resolver(access)
    entries: dict[str, Entry] = {}
    for request in requests:
        try:
            found = resolver.resolve(_reference(request, access))
            addition = adding.add(file, _place(request).entry(found))
        except ComfyportError as error:
            report.fail(f"failed      {error.message}")
            continue
        file, entries[addition.entry.path] = addition.file, addition.entry
        if found.remark:
            report.say(f"{addition.entry.path}: {found.remark}")
    return list(entries.values())


def _reference(request: Request, access: Access) -> references.Reference:
    if request.get("repo"):
        return references.on_hub(request["repo"], request["file"], request.get("revision") or "main")
    if request.get("auth"):
        return references.elsewhere(request["address"], f"env:{request['auth']}")
    return references.read(request["address"], access)


def _place(request: Request) -> adding.Place:
    return adding.Place(
        request.get("directory", ""),
        request.get("name", ""),
        tuple(request.get("groups", ())),
        request.get("sha256", "").lower(),
    )


def _completed(entry: Entry, place: Volume) -> Entry:
    """An entry whose size and sha256 are those of the file that has come, where its site did not tell them."""
    receipt = place.receipt(entry.path)
    if receipt is None or receipt.members:
        return entry
    return entry.model_copy(update={"size": receipt.size, "sha256": receipt.sha256})


def _removal(name: str, whole: Lock, place: Volume) -> tuple[str, gc.Removal]:
    """The path that a name means, and what goes with it."""
    entries = amendments.amended(whole, place).models
    path = _path(name, entries, place)
    no_links_on_the_way(place.root, path)
    receipt = place.receipt(path)
    mine = {member.path for member in receipt.members} if receipt and receipt.members else {path}
    left = [entry for entry in entries if folded(entry.path) != folded(path)]
    planned = gc.plan_removal(left, place)
    files = tuple(file for file in planned.files if file in mine)
    if not receipt and place.state(path):
        # Without a receipt it is the user's own, and the user names it.
        files = (path,)
    states = [place.state(file) for file in files if file not in planned.heirs and not place.file(file).is_symlink()]
    removal = dataclasses.replace(
        planned,
        files=files,
        heirs={file: planned.heirs[file] for file in files if file in planned.heirs},
        receipts=(path,) if receipt else (),
        parts=(),
        leases=(),
        bytes=sum(state.size for state in states if state),
    )
    return path, removal


def _path(name: str, entries: Sequence[Entry], place: Volume) -> str:
    """The only path that `name`, a path or a file's name, can mean."""
    try:
        safe_path(name)
    except ValueError as error:
        raise UnusableReference(name, str(error)) from None
    known = {entry.path for entry in entries} | set(place.managed())
    if place.state(name) or name in known:
        return name
    found = sorted(path for path in known if folded(path.rpartition("/")[2]) == folded(name))
    if len(found) == 1:
        return found[0]
    reason = f"it may be any of {', '.join(found)}" if found else "neither the lock nor the Volume has it"
    raise UnusableReference(name, reason)
