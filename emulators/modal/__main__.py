"""`python -m emulators.modal [OPTIONS] [-- COMMAND...]`: runs COMMAND against the emulated platform.

Without COMMAND it serves until Ctrl-C and prints the variables to export.
"""

import argparse
import logging
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from emulators.modal.platform import ModalEmulator


def parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The options, and the command behind `--`."""
    own, command = list(arguments), []
    if "--" in own:
        at = own.index("--")
        own, command = own[:at], own[at + 1 :]
    parser = argparse.ArgumentParser(prog="python -m emulators.modal", description=__doc__)
    parser.add_argument("--report", type=Path, metavar="FILE", help="write what was deployed as JSON")
    parser.add_argument("--secret", action="append", default=[], metavar="NAME=KEY=VALUE")
    parser.add_argument("--env", action="append", default=[], metavar="KEY=VALUE", help="for every container")
    parser.add_argument("--volume", action="append", default=[], metavar="NAME=DIR", help="keep a Volume there")
    parser.add_argument("--no-isolation", action="store_true", help="no root directory of their own")
    return parser.parse_args(own), command


def emulator(options: argparse.Namespace) -> ModalEmulator:
    """The emulator that the options describe."""
    secrets: dict[str, dict[str, str]] = {}
    for text in options.secret:
        name, key, value = text.split("=", 2)
        secrets.setdefault(name, {})[key] = value
    return ModalEmulator(
        secrets=secrets,
        env=dict(text.split("=", 1) for text in options.env),
        volumes={name: Path(folder) for name, folder in (text.split("=", 1) for text in options.volume)},
        isolated=False if options.no_isolation else None,
    )


def serve(platform: ModalEmulator) -> int:
    """Waits for Ctrl-C or SIGTERM."""
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    for name, value in platform.environment().items():
        print(f"export {name}={shlex.quote(value)}", flush=True)
    stopped.wait()
    return 0


def main(arguments: Sequence[str]) -> int:
    """The program; its exit status is that of COMMAND."""
    logging.basicConfig(format="%(name)s: %(message)s", level=logging.WARNING)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    options, command = parse(arguments)
    with emulator(options) as platform:
        if command:
            status = subprocess.run(command, env=os.environ | platform.environment(), check=False).returncode
        else:
            status = serve(platform)
        if options.report:
            platform.write_report(options.report)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
