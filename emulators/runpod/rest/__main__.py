"""`python -m emulators.runpod.rest`: an empty account on loopback, for trying a deployment before it costs anything."""

import argparse

from emulators.runpod.rest import RestEmulator
from emulators.runpod.rest.emulator import PASSING, STANDING
from emulators.server import serve_until_interrupted


def main() -> None:
    """Serves until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m emulators.runpod.rest", description=main.__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 picks a free one (default)")
    parser.add_argument("--api-key", default="rpa_test", metavar="KEY", help="key for clients (default: rpa_test)")
    parser.add_argument("--fault", action="append", default=[], choices=[*PASSING, *STANDING], help="repeatable")
    options = parser.parse_args()
    emulator = RestEmulator(options.api_key, faults=options.fault, port=options.port)
    serve_until_interrupted(emulator, "RunPod's REST API, emulated:")


if __name__ == "__main__":
    main()
