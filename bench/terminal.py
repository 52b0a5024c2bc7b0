"""What the commands share at the terminal: options, messages, a folder to work in, a clean end when stopped."""

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from bench import CannotMeasureError

CANNOT_MEASURE = 2


def in_folder(parent: Path | None, report: Callable[[Path], None]) -> int:
    """Calls `report` with a new folder below `parent`, which is removed however that ends; the exit status."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with tempfile.TemporaryDirectory(prefix="comfyport-bench-", dir=parent) as folder:
            report(Path(folder))
    except CannotMeasureError as error:
        say(str(error))
        return CANNOT_MEASURE
    except KeyboardInterrupt:
        say("stopped")
        return 128 + signal.SIGINT
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


def count(text: str) -> int:
    """An option's value that counts something. Raises ArgumentTypeError."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("write a whole number of at least 1")
    return int(text)


def show(text: str) -> None:
    """Writes a part of the report."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def say(text: str) -> None:
    """Tells the person at the terminal something that is not part of the report."""
    sys.stderr.write(f"bench: {text}\n")


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
