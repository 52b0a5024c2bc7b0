"""The command line: options in, one deployment, what was done and what it costs out."""

import argparse
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence

from scripts.runpod_deploy.api import ENDPOINT, Api
from scripts.runpod_deploy.costs import Costs, estimate
from scripts.runpod_deploy.deploy import Deployment, Outcome, Step
from scripts.runpod_deploy.failure import Failed
from scripts.runpod_deploy.wanted import Wanted, WantedVolume

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def main(arguments: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Deploys; 0 done, 1 failed, 2 usage. Nothing secret is printed."""
    options = _parser().parse_args(arguments)
    try:
        wanted = _wanted(options, environ)
        key = environ.get("RUNPOD_API_KEY", "").strip()
        if not key:
            raise Failed("Set RUNPOD_API_KEY to a key of your account, with permission to read and write.", 2)
        api = Api(key, endpoint=options.api, secrets=wanted.env.values())
        costs = estimate(wanted, api.get("/v2/catalog/gpus")["gpus"])
        outcome = Deployment(api, wanted, dry_run=options.dry_run).run()
    except Failed as failure:
        sys.stderr.write(f"runpod-deploy: {failure}\n")
        return failure.status
    if options.json:
        sys.stdout.write(json.dumps(_document(outcome, costs, dry_run=options.dry_run)) + "\n")
    else:
        sys.stdout.write("\n".join(_lines(outcome, costs, dry_run=options.dry_run)) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/runpod-deploy.py",
        description="Puts comfyport on RunPod: a network volume, a template and a serverless endpoint, found by their "
        "name, made if missing, changed if different. The key is read from RUNPOD_API_KEY.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--image", required=True, help="the image, as docker pull takes it; best with a tag or digest")
    parser.add_argument("--name", default="comfyport", help="name of template and endpoint, and of the volume")
    parser.add_argument("--dry-run", action="store_true", help="only show what would be done")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--api", default=ENDPOINT, metavar="URL", help="RunPod's REST API")
    _add_storage(parser.add_argument_group("storage"))
    _add_workers(parser.add_argument_group("workers"))
    _add_container(parser.add_argument_group("container"))
    return parser


def _add_storage(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--data-center", metavar="ID", help="where the volume, and so every worker, is: EU-RO-1, …")
    group.add_argument("--volume-size", type=int, default=100, metavar="GB", help="the volume's size, 10 to 4096")
    group.add_argument("--volume", metavar="NAME", help="the volume's name, if not --name")
    group.add_argument("--no-volume", action="store_true", help="models go to the container disk of every new worker")


def _add_workers(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--type", choices=("queue", "load-balancer"), default="queue", help="how requests come in")
    group.add_argument("--gpu", default="ADA_24", metavar="POOLS", help="GPU pools, separated by commas")
    group.add_argument("--exclude-gpu", default="", metavar="TYPES", help="GPU types of these pools to leave out")
    group.add_argument("--gpu-count", type=int, default=1, metavar="N", help="GPUs per worker")
    group.add_argument("--min-cuda", default="13.0", metavar="VERSION", help="of the host's driver; '' for any")
    group.add_argument("--workers-min", type=int, default=0, metavar="N", help="workers that are always on")
    group.add_argument("--workers-max", type=int, default=3, metavar="N")
    group.add_argument(
        "--idle-timeout", type=int, default=10, metavar="S", help="seconds that a worker waits for a job"
    )
    group.add_argument("--queue-delay", type=float, default=4, metavar="S", help="a job's wait that adds a worker")
    group.add_argument("--request-count", type=int, default=4, metavar="N", help="requests per worker (load balancer)")
    group.add_argument("--timeout", type=int, default=3600, metavar="S", help="seconds that a job may run")
    group.add_argument("--no-flashboot", action="store_true", help="start workers without RunPod's FlashBoot")


def _add_container(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--disk", type=int, default=20, metavar="GB", help="container disk")
    group.add_argument("--registry", metavar="ID", help="credentials for a private image, stored with RunPod")
    group.add_argument(
        "--env", action="append", default=[], metavar="NAME[=VALUE]", help="a variable; without a value, yours"
    )
    group.add_argument(
        "--secret", action="append", default=[], metavar="NAME=SECRET", help="a variable from a secret kept with RunPod"
    )


def _wanted(options: argparse.Namespace, environ: Mapping[str, str]) -> Wanted:
    """What the options ask for. Raises Failed."""
    if not options.no_volume and not options.data_center:
        raise Failed("Name the data centre of the volume with --data-center, or use --no-volume.", 2)
    if not 0 <= options.workers_min <= options.workers_max:
        raise Failed("--workers-min must be between 0 and --workers-max.", 2)
    if not options.no_volume and not 10 <= options.volume_size <= 4096:
        raise Failed("--volume-size must be between 10 and 4096.", 2)
    volume = WantedVolume(options.volume or options.name, options.volume_size, options.data_center or "")
    return Wanted(
        name=options.name,
        image=options.image,
        pools=_words(options.gpu),
        balanced=options.type == "load-balancer",
        excluded_types=_words(options.exclude_gpu),
        gpu_count=options.gpu_count,
        min_cuda=options.min_cuda or None,
        workers_min=options.workers_min,
        workers_max=options.workers_max,
        idle_timeout=options.idle_timeout,
        queue_delay=options.queue_delay,
        request_count=options.request_count,
        timeout=options.timeout,
        flashboot=not options.no_flashboot,
        disk=options.disk,
        registry=options.registry,
        volume=None if options.no_volume else volume,
        env=_environment(options.env, options.secret, environ),
    )


def _environment(plain: list[str], secret: list[str], environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that were asked for; of a secret only RunPod's reference to it. Raises Failed."""
    found: dict[str, str] = {}
    for text in plain:
        name, equals, value = text.partition("=")
        if not equals and name not in environ:
            raise Failed(f"--env {name} has no value, and {name} is not set here.", 2)
        found[name] = value if equals else environ[name]
    for text in secret:
        name, equals, kept = text.partition("=")
        if not equals or not _VARIABLE.fullmatch(kept):
            raise Failed("--secret takes NAME=SECRET, the variable and the name of the secret.", 2)
        # https://docs.runpod.io/pods/templates/secrets
        found[name] = f"{{{{ RUNPOD_SECRET_{kept} }}}}"
    if wrong := next((name for name in found if not _VARIABLE.fullmatch(name)), None):
        raise Failed(f"{wrong!r} is no name of a variable.", 2)
    return found


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _lines(outcome: Outcome, costs: Costs, *, dry_run: bool) -> list[str]:
    told = [_line(step) for step in outcome.steps]
    if dry_run:
        told.append("This was a dry run: nothing was done.")
    elif not outcome.changed:
        told.append("Everything is as it shall be: nothing was changed.")
    told += ["", "What it costs:", *(f"  {line}" for line in costs.lines())]
    if outcome.urls:
        told += ["", "Where it is:", *(f"  {name:<11} {url}" for name, url in outcome.urls.items())]
    return told


def _line(step: Step) -> str:
    known = f" ({step.id})" if step.id else ""
    return f"{step.kind:<15} {step.name:<20} {step.action:<10} {'; '.join(step.details)}{known}"


def _document(outcome: Outcome, costs: Costs, *, dry_run: bool) -> dict[str, object]:
    steps = [
        {"kind": step.kind, "name": step.name, "action": step.action, "id": step.id, "details": step.details}
        for step in outcome.steps
    ]
    state = {"ok": True, "dry_run": dry_run, "changed": outcome.changed and not dry_run}
    return {**state, "steps": steps, "costs": costs.as_json(), "urls": outcome.urls}
