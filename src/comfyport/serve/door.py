"""Chooses the door that the platform asks for, and turns an error of the start into a message and an exit status."""

import sys

from comfyport.errors import ComfyportError
from comfyport.serve import logs
from comfyport.settings import Settings


def run() -> None:
    """Starts the worker of this container and serves until it is told to stop. Raises ComfyportError."""
    settings = Settings.load()
    logs.configure(settings.log_level)
    if settings.runpod_job_url:
        # RunPod's SDK looks at the machine when it is imported; nobody else needs it.
        from comfyport.serve import runpod_worker

        runpod_worker.serve()
    else:
        from comfyport.serve import http_door

        http_door.serve(settings)


def main() -> None:
    """`run` as a program: ends with 0 after a stop, 1 or 2 with a message on stderr otherwise."""
    try:
        run()
    except ComfyportError as error:
        sys.stderr.write(f"comfyport: {error.message}\n")
        sys.exit(error.exit_status)
