"""The log of a worker: one line per event on stderr, with the job that it belongs to; the last lines are kept."""

import logging
import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from comfyport.jobs.job_id import job_id

KEPT_LINES = 500
# Longer than any sensible line: a node may print a whole picture.
LINE_CHARACTERS = 2_000
# Anything shorter is as likely a word of the log as it is a secret.
SHORTEST_SECRET = 6
HIDDEN = "********"
_USERINFO = re.compile(r"(?<=://)[^\s/?#@\"']+@")
_BEARER = re.compile(r"\b(bearer\s+)[\w.~+/=-]{6,}", re.IGNORECASE)
# What signs an address, and what else it asks for: the path says enough.
_QUERY = re.compile(r"(\w://[^\s?\"'<>]+\?)[^\s\"'<>]+")


@dataclass(frozen=True)
class Line:
    """One line of the log and its number, from 1 on."""

    number: int
    text: str


class Recent(logging.Handler):
    """Keeps the last lines of the log for those who may not see stderr, without what is secret.

    `secrets` are values that must not be shown, wherever a line has them: ComfyUI's nodes print what they like.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        longest_first = sorted({secret for secret in secrets if len(secret) >= SHORTEST_SECRET}, key=len, reverse=True)
        self._secrets = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None
        self._lines: deque[Line] = deque(maxlen=KEPT_LINES)
        self._last = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Takes a record in, line by line; called with the handler's lock held."""
        for text in self._without_secrets(self.format(record)).splitlines():
            self._last += 1
            self._lines.append(Line(self._last, text[:LINE_CHARACTERS]))

    def after(self, number: int) -> list[Line]:
        """The lines that are kept and came after that number."""
        self.acquire()
        try:
            return [line for line in self._lines if line.number > number]
        finally:
            self.release()

    def _without_secrets(self, text: str) -> str:
        if self._secrets:
            text = self._secrets.sub(HIDDEN, text)
        text = _USERINFO.sub(f"{HIDDEN}@", text)
        text = _BEARER.sub(rf"\1{HIDDEN}", text)
        return _QUERY.sub(rf"\1{HIDDEN}", text)


def configure(level: str, recent: Recent | None = None) -> None:
    """Sets the log up for a whole process; `level` as in LOG_LEVEL. `recent` is to keep what is logged, too."""
    handlers: list[logging.Handler] = [logging.StreamHandler(), *([recent] if recent else [])]
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s%(job)s"))
        handler.addFilter(name_job)
    logging.basicConfig(level=level.upper(), handlers=handlers, force=True)
    # Their request lines carry addresses with signatures.
    for name in ("urllib3", "httpx", "aiohttp"):
        logging.getLogger(name).setLevel(logging.WARNING)


def name_job(record: logging.LogRecord) -> bool:
    """Gives a record the job that the running task works on; a filter that lets every record pass."""
    record.job = f" job={job_id.get()}" if job_id.get() else ""
    return True
