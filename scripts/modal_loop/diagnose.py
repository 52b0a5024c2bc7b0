"""Why does it not work? Asks in the order of cost: environment, App list, door, logs, a running container, debug log.

Nothing is started and nothing changed; every question has a time limit. Ends with 0 if nothing was found, with 1 if
something was, with 2 for wrong usage.
"""

import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import modal
from modal.config import config

from scripts.modal_loop import commands, preflight
from scripts.modal_loop.door import Door, NoAnswer, credentials
from scripts.modal_loop.findings import Finding, fail, note, ok, skip, told
from scripts.modal_loop.target import Target, chosen, parser

SECONDS = 60.0
LOG_LINES = 500
SHOWN_LINES = 20
ASKED_CONTAINERS = 3
# What a container is asked: what it is made of and sees, and what its worker has written on its notice board.
QUESTIONS = "comfyport doctor; cat /run/comfyport/status.json 2>/dev/null"
_BAD = re.compile(r"\b(error|critical|traceback|exception|out of memory|killed)\b", re.IGNORECASE)


def main() -> int:
    """The program; its exit status."""
    options = parser("diagnose", __doc__ or "")
    options.add_argument("--output", type=Path, default=Path("modal-debug.log"), metavar="FILE", help="the debug log")
    given = options.parse_args()
    # Whoever only looks may look at production.
    target = replace(chosen(given), production=True)
    failures = told(findings(target, given.output))
    said = f"First: {failures[0].advice}" if failures else "Nothing was found. docs/modal.md lists symptoms."
    sys.stdout.write(f"{said}\n")
    return 1 if failures else 0


def findings(target: Target, debug_log: Path) -> Iterator[Finding]:
    """What was found; the questions behind one that Modal did not answer are left out, but for the debug log."""
    failed = False
    for finding in _questions(target):
        failed = failed or finding.state == "FAIL"
        yield finding
    if failed:
        yield _debug_log(target, debug_log)
    else:
        yield skip("debug log", "Nothing failed.")


def _questions(target: Target) -> Iterator[Finding]:
    known = []
    for finding in preflight.findings(target):
        known.append(finding)
        yield finding
    if any(finding.state == "skip" for finding in known):
        return
    app = _app(target)
    if isinstance(app, Finding):
        yield app
        return
    yield ok("app", f"{app['description']} is {app['state']} as {app['app_id']}, {app['tasks']} containers run.")
    yield _door(target)
    yield from _logs(target)
    yield from _containers(target, app["app_id"])


def _app(target: Target) -> dict[str, Any] | Finding:
    name = target.settings.app
    rows = _rows("app", "list", "--json", "--env", target.environment)
    if isinstance(rows, str):
        return fail("app", f"modal app list: {rows}", "Try again; status.modal.com tells how Modal is.")
    found = next((row for row in rows if row["description"] == name and row["state"] == "deployed"), None)
    return found or fail("app", f"{name} is not deployed in {target.environment}.", "scripts/modal-deploy.sh")


def _door(target: Target) -> Finding:
    log = f"modal app logs {target.settings.app}{target.option}"
    try:
        function = modal.Function.from_name(target.settings.app, "api", environment_name=target.environment)
        url = function.get_web_url()
        health = Door((url or "").rstrip("/"), credentials(os.environ)).health()
        return ok("door", f"{url} answers {json.dumps(health)}")
    except NoAnswer as error:
        return fail("door", str(error), f"Read {log}; the container of `api` does not start.")
    except modal.exception.Error as error:
        return fail("door", f"{error}", "scripts/modal-deploy.sh")


def _logs(target: Target) -> Iterator[Finding]:
    command = ("app", "logs", target.settings.app, "--tail", str(LOG_LINES), "--env", target.environment)
    done = commands.modal(*command, seconds=SECONDS)
    if not done.ok:
        yield note("logs", f"modal app logs: {done.failure}")
        return
    lines = done.output.splitlines()
    bad = [line for line in lines if _BAD.search(line)]
    sys.stdout.writelines(f"      {line}\n" for line in (bad or lines)[-SHOWN_LINES:])
    shown = min(len(bad or lines), SHOWN_LINES)
    full = f"modal {' '.join(command)}"
    if bad:
        said = f"{len(bad)} of the last {len(lines)} lines tell of an error; the last {shown} stand above."
        yield fail("logs", said, f"Look them up in docs/errors.md and docs/modal.md; all of it: {full}")
    else:
        yield ok("logs", f"None of the last {len(lines)} lines tells of an error; the last {shown} stand above.")


def _containers(target: Target, app_id: str) -> Iterator[Finding]:
    rows = _rows("container", "list", "--json", "--app-id", app_id, "--env", target.environment)
    if isinstance(rows, str):
        yield note("container", f"modal container list: {rows}")
        return
    if not rows:
        yield skip("container", "None runs. One starts with a job, and costs what its GPU costs.")
    for row in rows[:ASKED_CONTAINERS]:
        name = row["container_id"]
        command = ("container", "exec", "--no-pty", name, "--", "sh", "-c", QUESTIONS)
        done = commands.modal(*command, seconds=SECONDS, show=True)
        if done.ok:
            yield ok("container", f"What {name} says of itself stands above. A shell in it: modal shell {name}")
        else:
            yield note("container", f"{name} cannot be asked: {done.failure}", f"modal shell {name}")


def _debug_log(target: Target, file: Path) -> Finding:
    """What the client does on the wire, without the token."""
    environ = {"MODAL_LOGLEVEL": "DEBUG", "MODAL_TRACEBACK": "1"}
    option = ("--env", target.environment) if target.environment else ()
    output = commands.modal("app", "list", *option, seconds=SECONDS, environ=environ).output
    for secret in (config.get("token_id"), config.get("token_secret")):
        output = output.replace(secret, "********") if secret else output
    file.write_text(output, encoding="utf-8")
    return note("debug log", f"{file} holds what the client said and heard, without the token: for Modal's support.")


def _rows(*command: str) -> list[dict[str, Any]] | str:
    """The rows of a table that modal prints as JSON; or why there are none."""
    done = commands.modal(*command, seconds=SECONDS)
    if not done.ok:
        return done.failure
    try:
        rows: list[dict[str, Any]] = json.loads(done.output)
    except ValueError:
        return f"this is no JSON: {done.output[:200]}"
    return rows


if __name__ == "__main__":
    sys.exit(main())
