"""What is posted to RunPod about a job: progress, chunks of its stream, and the result, which is never lost lightly.

Addresses, headers and bodies are those of the SDK (rp_http.py, `_transmit` and `_handle_result`; rp_job.py, `run_job`).
The SDK tries a result three times within two seconds.
"""

import asyncio
import json
import logging
from typing import Any

import aiohttp

from comfyport.errors import AnswerRefused
from comfyport.serve.runpod_worker.outage import NETWORK_ERRORS, Outage, reason
from comfyport.settings import RUNPOD_ANSWER_BYTES

logger = logging.getLogger(__name__)

Json = dict[str, Any]

# RunPod's documented limit for a chunk of a stream.
CHUNK_BYTES = 1_000_000
# After so long, RunPod's default for an execution has passed and the job counts as timed out.
GIVE_UP_SECONDS = 600.0
RESULT = aiohttp.ClientTimeout(total=300, sock_connect=10)
# Nobody's job waits longer than this for a word about its progress; then nobody tells any for a while.
PROGRESS = aiohttp.ClientTimeout(total=1.0)
QUIET_SECONDS = 60.0

REFUSED = (400, 413, 422)
NOT_NOW = (408, 425, 429)
HEADERS = {"charset": "utf-8", "Content-Type": "application/x-www-form-urlencoded"}


class Posts:
    """Posts over `session`, the SDK's, to its two addresses; `$ID` in them is the job's id."""

    def __init__(self, session: aiohttp.ClientSession, *, done_url: str, stream_url: str) -> None:
        self._session = session
        self._done_url = done_url
        self._stream_url = stream_url
        self._quiet_until = 0.0

    async def result(self, job_id: str, answer: Json) -> None:
        """Posts a job's answer, for as long as it takes; one RunPod will not have becomes an error that says it."""
        content = _encoded(_report(answer))
        status = await self._deliver(job_id, content) if len(content) <= RUNPOD_ANSWER_BYTES else None
        if status in REFUSED or len(content) > RUNPOD_ANSWER_BYTES:
            refused = AnswerRefused(len(content), status, limit=RUNPOD_ANSWER_BYTES)
            logger.error("the answer is replaced by an error id=%s error=%s", job_id, refused.message)
            kept = {key: answer[key] for key in ("refresh_worker",) if key in answer}
            status = await self._deliver(job_id, _encoded(_report(refused.as_answer() | kept)))
        if status is None or status >= 400:
            logger.error("the result is lost id=%s status=%s", job_id, status)

    async def progress(self, job_id: str, event: Json) -> bool:
        """Posts what `/status` shows while the job runs; whether RunPod took it, and in time."""
        content = _encoded({"status": "IN_PROGRESS", "output": event})
        return await self._tell(self._done_url, job_id, content)

    async def chunk(self, job_id: str, event: Json) -> bool:
        """Posts what `/stream` gives its readers; whether RunPod took it, and in time."""
        return await self._tell(self._stream_url, job_id, _encoded({"output": event}))

    async def _deliver(self, job_id: str, content: bytes) -> int | None:
        """RunPod's last word on a result; None if it had none in all the time that there was."""
        outage = Outage(f"posting the result of {job_id}")
        loop = asyncio.get_running_loop()
        end = loop.time() + GIVE_UP_SECONDS
        while True:
            try:
                status = await self._post(self._done_url, job_id, content, RESULT)
                if status < 500 and status not in NOT_NOW:
                    outage.over()
                    return status
                problem = f"HTTP {status}"
            except NETWORK_ERRORS as error:
                problem = reason(error)
            pause = outage.failed(problem)
            if loop.time() + pause > end:
                return None
            await asyncio.sleep(pause)

    async def _tell(self, template: str, job_id: str, content: bytes) -> bool:
        loop = asyncio.get_running_loop()
        if loop.time() < self._quiet_until:
            return False
        if len(content) > CHUNK_BYTES:
            return True
        try:
            status = await self._post(template, job_id, content, PROGRESS)
            problem = f"HTTP {status}"
        except NETWORK_ERRORS as error:
            status, problem = 503, reason(error)
        if status >= 500:
            logger.info("RunPod: progress is not told for %g s reason=%s", QUIET_SECONDS, problem)
            self._quiet_until = loop.time() + QUIET_SECONDS
        return status < 400

    async def _post(self, template: str, job_id: str, content: bytes, limit: aiohttp.ClientTimeout) -> int:
        url = template.replace("$ID", job_id) + "&isStream=false"
        headers = HEADERS | {"X-Request-ID": job_id}
        async with self._session.post(url, data=content, headers=headers, timeout=limit) as response:
            await response.read()
            return response.status


def _report(answer: Json) -> Json:
    """An answer as the SDK reports it: `error` beside `output`, `refresh_worker` as `stopPod`, nothing empty."""
    output = {key: value for key, value in answer.items() if key not in ("error", "refresh_worker")}
    report: Json = {"output": output} if output else {}
    if answer.get("error"):
        report["error"] = answer["error"]
    if answer.get("refresh_worker"):
        report["stopPod"] = True
    return report


def _encoded(report: Json) -> bytes:
    return json.dumps(report).encode("ascii")
