"""The emulator as a program: started, stopped and logging like ComfyUI's main.py."""

import itertools
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from emulators.comfyui.emulator import ComfyUIEmulator
from emulators.comfyui.options import parse
from emulators.comfyui.routes_info import VERSION

logger = logging.getLogger("comfyui")

KILLED = 137
"""The exit code of a process that the kernel killed for want of memory."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves until SIGINT or SIGTERM and gives the exit code."""
    options = parse(arguments)
    logging.basicConfig(level=options.verbose, format="%(message)s", stream=sys.stderr)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    logger.info("ComfyUI version: %s (emulated)", VERSION)
    if options.base_directory and not Path(options.base_directory, "custom_nodes").is_dir():
        return _fail(f"No such file or directory: '{Path(options.base_directory, 'custom_nodes')}'")
    if options.user_directory and not Path(options.user_directory).is_dir():
        return _fail(f"The user directory '{options.user_directory}' does not exist.")
    try:
        emulator = ComfyUIEmulator(
            options.base_directory,
            faults=options.fault,
            start_delay=options.start_delay,
            step_seconds=options.step_seconds,
            host=options.listen,
            port=options.port,
            output_directory=options.output_directory,
            input_directory=options.input_directory,
            temp_directory=options.temp_directory,
            extra_model_paths=list(itertools.chain(*options.extra_model_paths_config)),
            disable_metadata=options.disable_metadata,
            previews=options.preview_method != "none",
            preview_size=options.preview_size,
            cache_lru=options.cache_lru,
            cache_none=options.cache_none,
            max_upload_megabytes=options.max_upload_size,
            cpu=options.cpu,
            argv=sys.argv if arguments is None else ["main.py", *arguments],
            crash=lambda: os._exit(KILLED),
        )
    except (OSError, ValueError) as error:
        return _fail(str(error))
    return 0 if options.quick_test_for_ci else _serve(emulator, stopped)


def _serve(emulator: ComfyUIEmulator, stopped: threading.Event) -> int:
    try:
        with emulator:
            logger.info("Base directory: %s", emulator.folders.base)
            logger.info("Starting server\n")
            for host in emulator.host.split(","):
                logger.info("To see the GUI go to: http://%s:%d", f"[{host}]" if ":" in host else host, emulator.port)
            stopped.wait()
            logger.info("\nStopped server")
    except OSError as error:
        return _fail(str(error))
    return 0


def _fail(reason: str) -> int:
    logger.error("ERROR: %s", reason)
    return 1
