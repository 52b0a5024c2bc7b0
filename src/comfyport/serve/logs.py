"""The log of a worker: one line per event on stderr."""

import logging


def configure(level: str) -> None:
    """Sets the log up for a whole process; `level` as in LOG_LEVEL."""
    logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)-7s %(name)s: %(message)s", force=True)
    # Their request lines carry addresses with signatures.
    for name in ("urllib3", "httpx", "aiohttp"):
        logging.getLogger(name).setLevel(logging.WARNING)
