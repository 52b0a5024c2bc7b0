"""The log of a worker: one line per event on stderr, with the job that it belongs to."""

import logging

from comfyport.jobs.naming import job_id


def configure(level: str) -> None:
    """Sets the log up for a whole process; `level` as in LOG_LEVEL."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s%(job)s"))
    handler.addFilter(_name_job)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Their request lines carry addresses with signatures.
    for name in ("urllib3", "httpx", "aiohttp"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _name_job(record: logging.LogRecord) -> bool:
    record.job = f" job={job_id.get()}" if job_id.get() else ""
    return True
