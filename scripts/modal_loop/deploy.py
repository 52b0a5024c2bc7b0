"""Looks first, deploys, takes the address from what modal prints, waits until it answers, and sends one real job.

Ends with 0 when the job has come back done, with 1 at the first step that fails, with 2 for wrong usage.
"""

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import modal

from scripts.modal_loop import commands, preflight
from scripts.modal_loop.door import KEY, PROXY_KEY, PROXY_SECRET, Door, NoAnswer, credentials
from scripts.modal_loop.findings import Finding, fail, ok, told
from scripts.modal_loop.target import ENTRY, ROOT, Target, chosen, parser

# modal 1.6 prints the address on the line below the function's, older ones behind =>.
_ADDRESS = re.compile(r"Created (?:web )?function api\b[^\n]*?(?:=>|\n[^\n]*?)\s*(https?://[^\s()]+)", re.IGNORECASE)


def main() -> int:
    """The program; its exit status."""
    options = _options()
    target = chosen(options)
    return 1 if told(findings(target, options)) else 0


def findings(target: Target, options: argparse.Namespace) -> Iterator[Finding]:
    """The steps, one after the other; none is begun after one that failed."""
    job = _job(options)
    if isinstance(job, Finding):
        yield job
        return
    blocked = False
    for finding in preflight.findings(target):
        yield finding
        blocked = blocked or finding.state == "FAIL"
    if blocked:
        return
    place = _deployed_address(target) if options.no_deploy else _deploy(target, options.deploy_timeout)
    if isinstance(place, Finding):
        yield place
        return
    yield ok("deploy", f"{target.settings.app} is at {place}")
    yield from _answers(Door(place.rstrip("/"), credentials(os.environ)), target, options, job)


def _deploy(target: Target, seconds: float) -> str | Finding:
    """Deploys; the address of the HTTP face, or why there is none."""
    done = commands.modal("deploy", "--env", target.environment, str(ENTRY), seconds=seconds, show=True)
    if not done.ok:
        return fail("deploy", done.failure, f"Read the log above; then scripts/modal-diagnose.sh{target.option}")
    address = _ADDRESS.search(done.output)
    if address is None:
        return fail("deploy", "modal named no address of `api`.", f"scripts/modal-deploy.sh{target.option} --no-deploy")
    return address[1]


def _deployed_address(target: Target) -> str | Finding:
    """The address of what is deployed already, or why there is none."""
    function = modal.Function.from_name(target.settings.app, "api", environment_name=target.environment)
    try:
        return function.get_web_url() or ""
    except modal.exception.Error as error:
        return fail("deploy", str(error), "Leave --no-deploy out.")


def _answers(door: Door, target: Target, options: argparse.Namespace, job: dict[str, Any] | None) -> Iterator[Finding]:
    """The deployment as a client sees it."""
    log = f"modal app logs {target.settings.app}{target.option}"
    try:
        health = door.wait_healthy(options.health_timeout)
    except NoAnswer as error:
        said = f"It did not answer for {options.health_timeout:.0f} s: {error}"
        yield fail("health", said, f"{log} tells why; or scripts/modal-diagnose.sh{target.option}")
        return
    yield ok("health", json.dumps(health))
    if job is None:
        return
    started = time.monotonic()
    try:
        state = door.run(job, options.job_timeout)
    except NoAnswer as error:
        yield fail("job", str(error), _about_no_answer(str(error), log))
        return
    answer = state.get("output") or {}
    if state.get("status") != "COMPLETED":
        code = answer.get("error_code", "no error_code")
        advice = f"docs/errors.md says what to do about {code}; {log} has the rest"
        yield fail("job", f"{state.get('status')}, {code}: {answer.get('error') or state.get('error')}", advice)
        return
    pictures = len(answer.get("images", ()))
    yield ok("job", f"COMPLETED in {time.monotonic() - started:.1f} s with {pictures} picture(s), cold start included")


def _about_no_answer(said: str, log: str) -> str:
    if " 401" in said:
        return (
            f"Export the {KEY} that the Secret holds, or, where Modal's proxy auth guards the door, {PROXY_KEY} and "
            f"{PROXY_SECRET}; then add --no-deploy."
        )
    return f"{log} tells why. A first start may take minutes: --job-timeout gives it longer."


def _job(options: argparse.Namespace) -> dict[str, Any] | Finding | None:
    """The job that shall be sent, None if none shall; or why it cannot be."""
    if options.no_job:
        return None
    if not credentials(os.environ):
        return fail("job", f"{KEY} is not set here.", f"export {KEY}=... as in the Secret, or add --no-job")
    try:
        job = json.loads(options.job.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return fail("job", f"{options.job} cannot be read: {error}", "Name a file that holds a job with --job.")
    return job if isinstance(job, dict) and "input" in job else {"input": {"workflow": job}}


def _options() -> argparse.Namespace:
    options = parser("deploy", __doc__ or "")
    shipped = ROOT / "examples" / "without-models" / "job.json"
    options.add_argument("--job", type=Path, default=shipped, metavar="FILE", help="a job, or a workflow in API format")
    options.add_argument("--no-deploy", action="store_true", help="only ask and try what is deployed already")
    options.add_argument("--no-job", action="store_true", help="send none: no GPU is started")
    options.add_argument("--deploy-timeout", type=float, default=3600, metavar="S", help="seconds, 3600; it builds")
    options.add_argument("--health-timeout", type=float, default=300, metavar="S", help="seconds until it answers, 300")
    options.add_argument("--job-timeout", type=float, default=1800, metavar="S", help="seconds for the job, 1800")
    return options.parse_args()


if __name__ == "__main__":
    sys.exit(main())
