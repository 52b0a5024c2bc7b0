"""Posts a job's webhook from a container of its own, so that no GPU waits for a slow receiver (modal 1.6)."""

import logging
from typing import Any

from comfyport.serve.modal_service.queue import ModalQueue
from comfyport.serve.webhooks import Webhooks
from comfyport.settings import Settings

logger = logging.getLogger(__name__)

# The answer comes a moment after the notice; a cancelled job's container takes longer.
ANSWER_SECONDS = 60.0
# Eight tries of 15 s, and the pauses between them.
DELIVERY_SECONDS = 600.0


async def post(job_id: str, url: str, *, app: str, run: Any) -> None:
    """Posts the body of `/status` to `url`, once the job has ended; returns when it is delivered or given up.

    Raises JobUnknown, EndpointFailed.
    """
    settings = Settings.load()
    queue = ModalQueue(run, app=app, longest_wait=ANSWER_SECONDS)
    job = await queue.wait(job_id, ANSWER_SECONDS)
    if not job.ended:
        logger.warning("job %s is run again, and its webhook told then: its container went before its answer", job_id)
        return
    job.webhook = url
    async with Webhooks(settings.webhook_secret.reveal(), private=settings.allow_private_urls) as webhooks:
        webhooks.job_ended(job)
        await webhooks.drain(DELIVERY_SECONDS)
