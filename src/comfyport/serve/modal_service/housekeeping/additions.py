"""Adds models to the Volume and the lock, or takes them out of both: at once known to whoever starts from now on."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from comfyport import wiring
from comfyport.errors import ComfyportError, UnusableReference
from comfyport.models import amendments, gc, plan, references
from comfyport.models.lock import DEFAULT_GROUP, Entry, Lock, UrlSource
from comfyport.models.paths import folded, no_links_on_the_way, safe_path
from comfyport.models.resolve import Resolver
from comfyport.models.volume import Volume
from comfyport.serve.modal_service import sharing
from comfyport.serve.modal_service.housekeeping import lock_text
from comfyport.serve.modal_service.housekeeping.downloads import Site, bring
from comfyport.serve.modal_service.housekeeping.report import Report, amount
from comfyport.settings import Settings

Request = dict[str, Any]


def add_models(site: Site, requests: Sequence[Request], lock: str) -> Report:
    """Pins, fetches and verifies what is asked for, and notes what has come in the lock and on the Volume.

    A request names `repo`, `file` and `revision`, or an `address`; where the file goes, `directory` and `name`; its
    `groups`; and what is known of it, `sha256` and `auth`. One that fails stops no other. Raises InvalidLock.
    """
    whole, report = lock_text.read(lock), Report()
    wanted = _pinned(requests, whole, report)
    with sharing.up_to_date(site.volume):
        bring(wanted, site, report)
        place = wiring.volume(Settings.load())
        standing = [action.entry for action in _plan(wanted, place).actions if action.kind == "have"]
        added = [_completed(entry, place) for entry in standing]
        for entry in added:
            amendments.add(entry, whole, place)
    if added:
        report.lock = lock_text.changed(lock, added=added)
        report.changed = True
    return report


def find_model(site: Site, name: str, lock: str) -> Report:
    """What `delete_model` would remove. Raises UnusableReference."""
    sharing.reload(site.volume)
    place = wiring.volume(Settings.load())
    path, removal = _removal(name, lock_text.read(lock), place)
    report = Report(changed=True, lines=list(removal.files) or [f"{path}, which is in the lock only"])
    report.say(f"{amount(removal.bytes)} in all")
    return report


def delete_model(site: Site, name: str, lock: str) -> Report:
    """Removes a model from the Volume and the lock; nobody fetches it again. Raises UnusableReference."""
    whole = lock_text.read(lock)
    with sharing.up_to_date(site.volume):
        place = wiring.volume(Settings.load())
        path, removal = _removal(name, whole, place)
        gc.remove(removal, place)
        amendments.take_out(path, whole, place)
    kept = lock_text.changed(lock, without=[path])
    return Report(changed=True, lock=kept, lines=[f"removed {path}, {amount(removal.bytes)}"])


def _pinned(requests: Sequence[Request], whole: Lock, report: Report) -> list[Entry]:
    """The entries that are asked for; what cannot be pinned is told."""
    settings = Settings.load()
    resolver = Resolver(wiring.access(settings))
    entries: dict[str, Entry] = {}
    for request in requests:
        try:
            entry = _entry(request, whole, settings, resolver)
        except ComfyportError as error:
            report.fail(f"failed      {error.message}")
        else:
            entries[folded(entry.path)] = entry
    return list(entries.values())


def _entry(request: Request, whole: Lock, settings: Settings, resolver: Resolver) -> Entry:
    asked = request.get("repo") or request.get("address", "")
    try:
        if request.get("repo"):
            revision = request.get("revision") or "main"
            reference: references.Reference = references.hugging_face(request["repo"], request["file"], revision)
        else:
            reference = references.read(request["address"], wiring.access(settings))
        if request.get("auth") and isinstance(reference, UrlSource):
            reference = UrlSource(type="url", url=reference.url, auth=f"env:{request['auth']}")
        # In a lock with groups, what has none is never chosen.
        groups = request.get("groups") or ([DEFAULT_GROUP] if whole.groups else [])
        entry = resolver.resolve(reference).entry(request.get("directory", ""), request.get("name", ""), groups)
        known = {"sha256": request["sha256"]} if request.get("sha256") else {}
        return Entry.model_validate({**entry.model_dump(), **known})
    except ValidationError as error:
        first = error.errors()[0]
        field, reason = first["loc"][-1] if first["loc"] else "it", first["msg"].removeprefix("Value error, ")
        raise UnusableReference(references.shown(asked), f"{field} {reason}") from None


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


def _plan(entries: Sequence[Entry], place: Volume) -> plan.Plan:
    return plan.make(entries, state=place.state, receipt=place.receipt)
