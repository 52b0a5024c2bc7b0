"""`python -m emulators.runpod`: the emulator as a program, for trying a worker by hand."""

import argparse
import shlex
import signal
import threading
from collections.abc import Callable

from emulators.runpod import RunPodEmulator
from emulators.runpod.faults import PASSING, STANDING

QUOTING: dict[str, Callable[[str], str]] = {"shell": shlex.quote, "docker": str}


def main() -> None:
    """Serves until Ctrl-C or SIGTERM. What is printed can be sourced by a shell or given to `--env-file`."""
    arguments = _parser().parse_args()
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with RunPodEmulator(arguments.endpoint, arguments.api_key, faults=arguments.fault, port=arguments.port) as platform:
        print(f"# RunPod emulator: {platform.base_url}/{platform.endpoint_id}", flush=True)
        if arguments.print_env:
            quote = QUOTING[arguments.print_env]
            lines = [f"{name}={quote(value)}" for name, value in platform.environment().items()]
            print("\n".join(lines), flush=True)
        stopped.wait()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m emulators.runpod", description=main.__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 picks a free one (default)")
    parser.add_argument("--endpoint", default="local", metavar="ID", help="endpoint id (default: local)")
    parser.add_argument("--api-key", default="rp_test", metavar="KEY", help="key for clients (default: rp_test)")
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        choices=sorted([*PASSING, *STANDING]),
        help="something to go wrong; may be given several times",
    )
    parser.add_argument(
        "--print-env",
        nargs="?",
        const="shell",
        choices=sorted(QUOTING),
        help="also print a worker's environment as KEY=VALUE lines, quoted for a shell (default) or plain",
    )
    return parser


if __name__ == "__main__":
    main()
