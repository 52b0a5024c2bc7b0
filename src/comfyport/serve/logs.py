"""The log of a worker: one line per event on stderr, with the job that it belongs to."""

import logging

from comfyport.jobs.job_id import job_id


def configure(level: str) -> None:
    """Sets the log up for a whole process; `level` as in LOG_LEVEL."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s%(job)s"))
    handler.addFilter(name_job)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Their request lines carry addresses with signatures.
    for name in ("urllib3", "httpx", "aiohttp"):
        logging.getLogger(name).setLevel(logging.WARNING)


def name_job(record: logging.LogRecord) -> bool:
    """Gives a record the job that the running task works on; a filter that lets every record pass."""
    record.job = f" job={job_id.get()}" if job_id.get() else ""
    return True
