"""Where housekeeping is asked for: shows what came of it, keeps the lock of this folder, and has the app see it.

Nothing is installed here but modal. Nothing waits for an answer where there is no terminal.
"""

import subprocess
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import modal

from comfyport.environment import as_words
from comfyport.errors import UsageError
from comfyport.serve.modal_service.housekeeping import lists
from comfyport.settings import ModalSettings

ROLLOVER_SECONDS = 300.0
DEPLOY_SECONDS = 3600.0
EMPTY = '{\n  "version": 1,\n  "%s": []\n}\n'


def show(outcome: dict[str, Any]) -> None:
    """Writes a chore's report; ends the program with 1 if it did not go well."""
    for line in outcome["lines"]:
        say(line)
    if not outcome["ok"]:
        leave(1)


def add_models(chore: Any, requests: Sequence[dict[str, Any]], *, lock: Path, restart: bool | None) -> None:
    """Adds models to the Volume and to the lock in this folder, and offers to have the app see them."""
    text = text_of(lock, "models")
    outcome = chore.remote("add_models", {"requests": list(requests), "lock": text})
    keep(lock, text, outcome)
    for line in outcome["lines"]:
        say(line)
    if outcome["changed"]:
        offer_restart(restart)
    leave(0 if outcome["ok"] else 1)


def add_list(chore: Any, file: Path, *, groups: Sequence[str], lock: Path, restart: bool | None) -> None:
    """Adds the models that a list names, as `add_models`."""
    try:
        requests = lists.read(file, groups=groups)
    except UsageError as error:
        say(error.message)
        leave(error.exit_status)
    else:
        add_models(chore, requests, lock=lock, restart=restart)


def add_nodes(chore: Any, names: Sequence[str], ref: str, *, lock: Path, entry: Path, restart: bool | None) -> None:
    """Adds custom nodes to the lock in this folder, and offers to deploy the app with them."""
    text = text_of(lock, "nodes")
    outcome = chore.remote("add_nodes", {"names": list(names), "ref": ref, "lock": text})
    keep(lock, text, outcome)
    show(outcome)
    say("Custom nodes are part of the image: the app has them after a deployment, which builds its last layers.")
    command = [sys.executable, "-m", "modal", "deploy", *_environment(), str(entry)]
    _offer(restart, "Deploy it now?", command, f"modal deploy {entry.name}", DEPLOY_SECONDS)


def delete_model(chore: Any, name: str, *, lock: Path, yes: bool, restart: bool | None) -> None:
    """Removes a model from the Volume and from the lock in this folder, once that was agreed to."""
    text = text_of(lock, "models")
    show(chore.remote("find_model", {"name": name, "lock": text}))
    agree("Remove that?", yes)
    outcome = chore.remote("delete_model", {"name": name, "lock": text})
    keep(lock, text, outcome)
    show(outcome)
    offer_restart(restart)


def cleanup(chore: Any, *, yes: bool) -> None:
    """Removes from the Volume what nobody needs, once that was agreed to."""
    found = chore.remote("find_leftovers", {})
    show(found)
    if found["changed"]:
        agree("Remove that?", yes)
        show(chore.remote("cleanup", {}))


def offer_restart(restart: bool | None) -> None:
    """Says how the app comes to see what has changed on the Volume, and does it if that is wanted."""
    name = ModalSettings.load().app
    try:
        modal.App.lookup(name, create_if_missing=False, environment_name=_environment_name())
    except modal.exception.NotFoundError:
        say(f"The app {name} is not deployed: `modal deploy modal_entry.py`.")
        return
    say(f"Containers of {name} that start from now on see this; those that run do not, until they are replaced.")
    command = [sys.executable, "-m", "modal", "app", "rollover", name, *_environment()]
    question = "Replace them one by one, each when its job is done?"
    _offer(restart, question, command, f"modal app rollover {name}", ROLLOVER_SECONDS)


def words(text: str) -> list[str]:
    """Words that are separated by commas."""
    return list(as_words(text))


def text_of(lock: Path, what: str) -> str:
    """The text of a lock, of an empty one if there is none."""
    return lock.read_bytes().decode("utf-8") if lock.exists() else EMPTY % what


def keep(lock: Path, before: str, outcome: dict[str, Any]) -> None:
    """Writes what a chore has made of the lock, whole or not at all, unless somebody has changed it since `before`."""
    if outcome["lock"] in (None, before):
        return
    if lock.exists() and lock.read_bytes().decode("utf-8") != before:
        outcome["ok"] = False
        outcome["lines"].append(
            f"{lock} was changed by somebody else meanwhile. Run the command again to have it noted."
        )
        return
    part = lock.with_name(f".{lock.name}.{uuid.uuid4().hex}")
    try:
        part.write_bytes(outcome["lock"].encode("utf-8"))
        part.replace(lock)
    finally:
        part.unlink(missing_ok=True)
    outcome["lines"].append(f"{lock} was changed, so that the next deployment knows it too.")


def agree(question: str, yes: bool) -> None:
    """Goes on if that is wanted; ends the program where nobody can be asked."""
    if yes:
        return
    if not sys.stdin.isatty():
        say("Nothing was changed; --yes does it.")
        leave(1)
    if not _answer(question, default=False):
        leave(1)


def say(line: str) -> None:
    """One line for the person who asked."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def leave(status: int) -> None:
    """Ends the program unless all went well."""
    if status:
        sys.exit(status)


def _offer(wanted: bool | None, question: str, command: list[str], shown: str, seconds: float) -> None:
    if wanted is None and sys.stdin.isatty():
        wanted = _answer(question, default=True)
    if not wanted:
        say(f"`{shown}` does it, and so does --restart here.")
        return
    try:
        status = subprocess.run(command, stdin=subprocess.DEVNULL, timeout=seconds, check=False).returncode
    except subprocess.TimeoutExpired:
        say(f"`{shown}` was not done after {seconds:.0f} s.")
        status = 1
    leave(status)


def _answer(question: str, *, default: bool) -> bool:
    say(f"{question} [{'Y/n' if default else 'y/N'}]")
    answer = sys.stdin.readline().strip().lower()
    return answer.startswith("y") if answer else default


def _environment_name() -> str | None:
    """The environment of this run: `modal run --env`, or the profile's."""
    name: str | None = modal.config.config.get("environment")
    return name


def _environment() -> list[str]:
    name = _environment_name()
    return ["--env", name] if name else []
