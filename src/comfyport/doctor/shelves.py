"""The models of the lock: how those of each folder stand on the volume."""

from collections.abc import Iterator, Sequence

from comfyport.doctor.finding import Finding, State
from comfyport.models.plan import Action, Plan

AREA = "models"
GB = 1e9


def examine(made: Plan, *, startup_download: bool) -> Iterator[Finding]:
    """Findings on a plan, one for each folder, and one for what the lock no longer names."""
    folders = sorted({action.entry.directory for action in made.actions})
    if not folders:
        fix = "Name groups of the lock in MODEL_GROUPS, or add models to it."
        yield Finding(AREA, "lock", "note", "no model is chosen", fix)
    for folder in folders:
        yield _folder(folder, [action for action in made.actions if action.entry.directory == folder], startup_download)
    open_fields = [action.entry.path for action in made.actions if not action.entry.sha256]
    if open_fields:
        found = f"no sha256 in the lock for {_some(open_fields)}: what the first download brings is believed"
        yield Finding(AREA, "pins", "note", found, "Run `comfyport models lock`.")
    if made.orphaned:
        found = f"{len(made.orphaned)} that the lock no longer names: {_some(made.orphaned)}"
        yield Finding(AREA, "orphans", "note", found, "Run `comfyport models gc` to remove them.")


def _folder(folder: str, actions: Sequence[Action], startup_download: bool) -> Finding:
    left = [action for action in actions if action.kind != "have"]
    size = sum(action.entry.size or 0 for action in actions) / GB
    found = f"{len(actions) - len(left)} of {len(actions)} there, {size:.1f} GB in all"
    if not left:
        return Finding(AREA, folder, "ok", found)
    named = _some([f"{action.entry.name} ({action.reason or action.kind})" for action in left])
    # What is never fetched fails each job that names it.
    state: State = "work" if startup_download else "problem"
    told = "the next start does" if startup_download else "DOWNLOAD_MODELS_ON_STARTUP is off, so that no start does"
    return Finding(AREA, folder, state, f"{found}; {named}", f"`comfyport models sync` fetches them; {told}.")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
