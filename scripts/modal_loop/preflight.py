"""Is everything there that a deployment needs: client, account, environment, Secret, Volume, a Dockerfile Modal builds?

Nothing is changed and nothing started. Ends with 0 if it may be deployed, with 1 if not, with 2 for wrong usage.
"""

import asyncio
import importlib.metadata
import json
import os
import sys
import tomllib
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import modal

from emulators.modal_builder.check import check
from scripts.modal_loop import commands
from scripts.modal_loop.findings import Finding, fail, note, ok, skip, told
from scripts.modal_loop.target import ROOT, Target, chosen, parser

ASK_SECONDS = 20.0
REQUIRED_KEYS = ("COMFYPORT_API_KEY",)
# The keys without which a source of the lock may be closed to us.
SOURCE_KEYS = {"huggingface": "HF_TOKEN", "civitai": "CIVITAI_TOKEN"}
PRODUCTION = ("prod", "live")
Value = TypeVar("Value")


def main() -> int:
    """The program; its exit status."""
    target = chosen(parser("preflight", __doc__ or "").parse_args())
    failures = told(findings(target))
    if not failures:
        sys.stdout.write("All is there: scripts/modal-deploy.sh deploys it.\n")
    return 1 if failures else 0


def findings(target: Target) -> Iterator[Finding]:
    """What was looked at, cheapest first; what needs the account is left out once that cannot be reached."""
    yield _client()
    yield from _dockerfile()
    yield _profile()
    account, environments = _account()
    yield account
    if account.state == "FAIL":
        yield skip("environment", "Secret and Volume are not asked for: Modal does not let us in.")
        return
    environment = _environment(target, environments)
    yield environment
    if target.environment not in environments:
        yield skip("secret", "Secret and Volume are not asked for: there is no environment to look in.")
        return
    yield from _secret(target)
    yield _volume(target)


def _client() -> Finding:
    installed = importlib.metadata.version("modal")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (pinned,) = project["optional-dependencies"]["modal"]
    if pinned != f"modal=={installed}":
        return note("client", f"modal {installed} is not the one that this was tested with.", f"pip install {pinned}")
    return ok("client", f"modal {installed}")


def _dockerfile() -> Iterator[Finding]:
    found = check(ROOT / "Dockerfile", ROOT)
    for problem in found:
        yield fail("dockerfile", f"line {problem.line}: {problem.construct}: {problem.reason}", problem.advice)
    if not found:
        yield ok("dockerfile", "Modal's builder takes every line of it, as far as can be told from here.")


def _profile() -> Finding:
    done = commands.modal("profile", "current", seconds=ASK_SECONDS)
    if not done.ok:
        return fail("profile", done.failure, "modal setup")
    if "MODAL_TOKEN_ID" in os.environ:
        return ok("profile", "none: MODAL_TOKEN_ID and MODAL_TOKEN_SECRET of this shell are used.")
    return ok("profile", f"{done.output.strip()} (another: modal profile activate NAME)")


def _account() -> tuple[Finding, list[str]]:
    """Whether Modal lets us in, and the workspace's environments."""
    try:
        found = [each.name for each in _asked(modal.Environment.objects.list.aio())]
    except modal.exception.AuthError as error:
        return fail("token", f"Modal does not accept it: {_first_line(error)}", "modal setup"), []
    except TimeoutError:
        said = f"Modal did not answer within {ASK_SECONDS:.0f} s."
        return fail("token", said, "Look whether this machine reaches https://api.modal.com, and try again."), []
    except modal.exception.Error as error:
        return fail("token", f"Modal cannot be asked: {_first_line(error)}", "Try again; status.modal.com tells."), []
    return ok("token", "accepted"), [name for name in found if name]


def _environment(target: Target, environments: list[str]) -> Finding:
    there = ", ".join(environments)
    name = target.environment
    if not name:
        return fail("environment", f"none is named. There are: {there}.", f"export MODAL_ENVIRONMENT={environments[0]}")
    if name not in environments:
        advice = f"export MODAL_ENVIRONMENT={environments[0]}, or modal environment create {name}"
        return fail("environment", f"{name} does not exist. There are: {there}.", advice)
    if name.lower().startswith(PRODUCTION) and not target.production:
        return fail(
            "environment", f"{name} looks like production.", "Name another, or add --production if you mean it."
        )
    return ok("environment", name)


def _secret(target: Target) -> Iterator[Finding]:
    name = target.settings.secret
    make = f"modal secret create {name} COMFYPORT_API_KEY=choose-one{target.option}"
    if not _holds(target):
        yield fail("secret", f"{name} does not exist in {target.environment}.", make)
        return
    required = () if target.settings.proxy_auth else REQUIRED_KEYS
    missing = [key for key in required if not _holds(target, key)]
    if missing:
        advice = f"Add it on https://modal.com/secrets, or make the Secret anew: {make} --force"
        yield fail("secret", f"{name} lacks {', '.join(missing)}.", advice)
        return
    yield ok("secret", f"{name}, with {', '.join(required)}" if required else f"{name}; Modal guards the door")
    for kind, key in SOURCE_KEYS.items():
        if kind in _source_kinds() and not _holds(target, key):
            yield note("secret", f"{name} has no {key}: gated and private files of {kind} cannot be fetched.")


def _holds(target: Target, *keys: str) -> bool:
    """Whether the Secret exists and has these keys; their values cannot be seen from outside."""
    found = modal.Secret.from_name(
        target.settings.secret, environment_name=target.environment, required_keys=list(keys)
    )
    try:
        _asked(found.hydrate.aio())
    except modal.exception.NotFoundError:
        return False
    return True


def _source_kinds() -> set[str]:
    models = json.loads((ROOT / "models.lock.json").read_text(encoding="utf-8"))["models"]
    return {source["type"] for model in models for source in model["sources"]}


def _volume(target: Target) -> Finding:
    name = target.settings.volume
    try:
        _asked(modal.Volume.from_name(name, environment_name=target.environment).hydrate.aio())
    except modal.exception.NotFoundError:
        advice = f"modal run{target.option} modal_entry.py::download_models"
        return note(
            "volume", f"{name} does not exist yet; it is made, empty, when you deploy. To fill it first:", advice
        )
    return ok("volume", name)


def _asked(question: Coroutine[Any, Any, Value]) -> Value:
    """Modal's answer. Raises TimeoutError, and what the question raises."""
    return asyncio.run(asyncio.wait_for(question, ASK_SECONDS))


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__


if __name__ == "__main__":
    sys.exit(main())
