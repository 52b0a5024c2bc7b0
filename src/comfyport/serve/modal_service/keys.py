"""Idempotency keys on Modal: the first of several requests claims its key, the others find that one's job (modal 1.6).

A claim is an entry that only one can write (`Dict.put(skip_if_exists=True)`), made before the call is spawned, so that
two requests at once never spawn two. Whoever dies between the two leaves a claim without a job, which the next one
takes over after a while.
"""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable

from comfyport.errors import IdempotencyKeyReused, JobUnknown
from comfyport.serve.job import Job, Submission
from comfyport.serve.modal_service.ledger import Json, Ledger

Spawn = Callable[[Submission], Awaitable[Job]]
Find = Callable[[str], Awaitable[Job]]

# Spawning takes seconds at most, with an input of many megabytes too.
ABANDONED_SECONDS = 60.0
LOOK_SECONDS = 0.1


class Keys:
    """Finds the job of a key, or spawns it."""

    def __init__(self, ledger: Ledger, spawn: Spawn, find: Find) -> None:
        self._ledger = ledger
        self._spawn = spawn
        self._find = find

    async def job(self, submission: Submission) -> Job:
        """The one job of this key and body. Raises IdempotencyKeyReused for another body."""
        name = hashlib.sha256(submission.key.encode()).hexdigest()
        while True:
            claim: Json = {"digest": submission.digest, "job": None, "at": time.time()}
            if await self._ledger.claim(name, claim):
                return await self._spawned(name, submission, claim)
            if known := await self._known(name, submission):
                return known

    async def _spawned(self, name: str, submission: Submission, claim: Json) -> Job:
        try:
            job = await self._spawn(submission)
        except BaseException:
            await asyncio.shield(self._ledger.reclaim(name, None))
            raise
        await self._ledger.reclaim(name, claim | {"job": job.id})
        return job

    async def _known(self, name: str, submission: Submission) -> Job | None:
        """The job of a key that is claimed; None once nothing is left of it and the key may be claimed anew."""
        while claim := await self._ledger.claimed(name):
            if claim["digest"] != submission.digest:
                raise IdempotencyKeyReused(claim["job"] or "another job")
            if claim["job"]:
                try:
                    return await self._find(claim["job"])
                except JobUnknown:
                    break
            if time.time() > claim["at"] + ABANDONED_SECONDS:
                break
            await asyncio.sleep(LOOK_SECONDS)
        await self._ledger.reclaim(name, None)
        return None
