"""Chooses the door that the platform asks for, and turns an error of the start into a message and an exit status."""

import os
import sys

from comfyport.errors import ComfyportError
from comfyport.serve import logs
from comfyport.settings import Settings


def run() -> None:
    """Starts the worker of this container and serves until it is told to stop. Raises ComfyportError."""
    settings = Settings.load()
    log = logs.Recent(settings.secrets_in(os.environ))
    logs.configure(settings.log_level, log)
    if settings.runpod_job_url:
        from comfyport.serve.runpod_worker import door as runpod_door

        runpod_door.serve(settings)
    else:
        from comfyport.serve import http_door

        http_door.serve(settings, log)


def main() -> None:
    """`run` as a program: ends with 0 after a stop, 1 or 2 with a message on stderr otherwise."""
    try:
        run()
    except ComfyportError as error:
        sys.stderr.write(f"comfyport: {error.message}\n")
        sys.exit(error.exit_status)
