"""A program on a pseudo-terminal, and what a person would see there."""

import os
import pty
import re
import struct
import subprocess
from collections.abc import Mapping
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

# What rich writes to take its last frame back: the line, and each one above it.
_TAKEN_BACK = re.compile(r"\r(?:\x1b\[2K)?(?:\x1b\[1A\x1b\[2K)+|\r\x1b\[2K")
_CONTROL = re.compile(r"\x1b\[[?0-9;]*[A-Za-z]")


class Terminal:
    """What a program has shown: `frames`, each taken back before the next, and the lines that went above each."""

    def __init__(self, output: str, status: int) -> None:
        self.status = status
        self.output = output
        self.frames = [_plain(frame) for frame in _TAKEN_BACK.split(output)]

    @property
    def last(self) -> str:
        """What was written after the last frame was taken back."""
        return self.frames[-1]


def run_on_terminal(
    *command: str | Path, environ: Mapping[str, str], columns: int, kind: str = "xterm-256color"
) -> Terminal:
    """Runs a program to its end with stdout and stderr on a terminal of so many columns."""
    ours, theirs = pty.openpty()
    ioctl(theirs, TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen(
        [str(part) for part in command],
        env={**environ, "TERM": kind},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    output = b""
    try:
        while block := os.read(ours, 1 << 16):
            output += block
    except OSError:
        # Linux ends the reading so when the last writer is gone.
        pass
    finally:
        os.close(ours)
    return Terminal(output.decode(), process.wait(timeout=10))


def _plain(text: str) -> str:
    return "\n".join(line.rstrip() for line in _CONTROL.sub("", text).replace("\r", "").split("\n"))
