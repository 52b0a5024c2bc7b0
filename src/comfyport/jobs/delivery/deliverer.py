"""Chooses how a job's outputs are delivered, and delivers them."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from comfyport.errors import AnswerTooLarge, DeliveryUnavailable
from comfyport.jobs.delivery import guard, inline, volume
from comfyport.jobs.delivery.keys import folder_of, names_of
from comfyport.jobs.delivery.place import located, this_month
from comfyport.jobs.delivery.store import REQUEST_SECONDS, Account, Bucket
from comfyport.jobs.outputs import Output, Outputs
from comfyport.jobs.request import Bucket as JobBucket
from comfyport.jobs.request import Delivery, Request

UPLOADS_AT_ONCE = 3
NO_BUCKET = (
    "The job wants its files in a bucket and there is none. Set BUCKET_ENDPOINT_URL, BUCKET_ACCESS_KEY_ID and "
    "BUCKET_SECRET_ACCESS_KEY, or send `s3Config` with the job."
)


@dataclass(frozen=True)
class Means:
    """What a worker has to deliver with.

    `answer_limit` is in bytes of JSON; `bucket` is None if none is set up, and `bucket_problem` says what is wrong with
    one that is set up badly; `volume` is None where there is none that outlives the container. `default` holds for jobs
    that do not say how they want their files. `private_urls` lets jobs name buckets at private addresses.
    """

    answer_limit: int
    bucket: Account | None = None
    bucket_problem: str = ""
    volume: Path | None = None
    default: Delivery = "auto"
    private_urls: bool = False
    request_seconds: float = REQUEST_SECONDS


class Deliverer:
    """Delivers the outputs of one worker's jobs; `month` tells the present one, as `this_month` writes it."""

    def __init__(self, means: Means, *, month: Callable[[], str] = this_month) -> None:
        self._means = means
        self._month = month
        # A bucket takes 30 ms to set up, and keeps its connections.
        self._reached = lru_cache(maxsize=4)(partial(Bucket, request_seconds=means.request_seconds))

    async def check(self, request: Request) -> None:
        """Raises DeliveryUnavailable when what the job asks for cannot be, before anything was spent on it."""
        wanted = self._wanted(request)
        if wanted == "volume":
            self._volume()
        if wanted not in ("auto", "s3"):
            return
        theirs, private = request.bucket, self._means.private_urls
        if theirs and (reason := await guard.refusal(theirs.endpoint, private=private)):
            raise DeliveryUnavailable(f"The s3Config's endpointUrl is refused: {reason}.")
        if wanted == "s3" or self._has_bucket(request):
            self._bucket(request)

    @property
    def answer_limit(self) -> int:
        """Bytes that an answer may have."""
        return self._means.answer_limit

    async def deliver(self, outputs: Outputs, request: Request, room: float = float("inf")) -> dict[str, Any]:
        """The lists of the answer by kind: `images`, `videos`, … Raises DeliveryFailed or AnswerTooLarge.

        `room` is what others have left of the answer, in bytes.
        """
        limit = max(0, int(min(room, self._means.answer_limit)))
        wanted = self._wanted(request)
        size = _size_in_answer(outputs)
        way = self._way(size, request, limit) if wanted == "auto" else wanted
        if way == "base64" and size > limit:
            raise AnswerTooLarge(size, limit)
        lists = _lists(outputs, await self._placed(way, outputs, request))
        if way != "base64" and (size := _bytes_of(lists, outputs)) > limit:
            raise AnswerTooLarge(size, limit)
        return lists

    def _wanted(self, request: Request) -> Delivery:
        if request.wish.delivery:
            return request.wish.delivery
        return "s3" if request.bucket else self._means.default

    def _way(self, size: int, request: Request, limit: int) -> Delivery:
        """The first of the answer, a bucket and the volume that will do. Raises AnswerTooLarge."""
        if size <= limit:
            return "base64"
        if self._has_bucket(request):
            return "s3"
        if self._means.volume and not volume.unusable(self._means.volume):
            return "volume"
        raise AnswerTooLarge(size, limit)

    async def _placed(self, way: Delivery, outputs: Outputs, request: Request) -> list[tuple[str, str]]:
        """For each file the `type` and the `data` of its item."""
        folder = folder_of(request.id)
        named = list(zip(outputs.files, names_of(outputs.files), strict=True))
        if way == "base64":
            return [("base64", await inline.encoded(file.path, name)) for file, name in named]
        if way == "volume":
            root = self._volume()
            return [("volume", await volume.put(root, f"{folder}/{name}", file.path)) for file, name in named]
        bucket = self._bucket(request)
        turn = asyncio.Semaphore(UPLOADS_AT_ONCE)
        links = await _all_of(_uploaded(bucket, f"{folder}/{name}", file, turn) for file, name in named)
        return [("s3_url", link) for link in links]

    def _has_bucket(self, request: Request) -> bool:
        return bool(request.bucket or self._means.bucket or self._means.bucket_problem)

    def _bucket(self, request: Request) -> Bucket:
        """The job's bucket, else the worker's. Raises DeliveryUnavailable."""
        account = account_of(request.bucket) if request.bucket else self._means.bucket
        if account is None:
            raise DeliveryUnavailable(self._means.bucket_problem or NO_BUCKET)
        try:
            return self._reached(replace(account, place=account.place.in_month(self._month())))
        except ValueError:
            raise DeliveryUnavailable(
                "The bucket's credentials are not of the right form: "
                "Google wants a service account's key as JSON, Azure the account's key in base64."
            ) from None

    def _volume(self) -> Path:
        root = self._means.volume
        reason = volume.unusable(root) if root else "none that outlives the container is mounted"
        if root is None or reason:
            raise DeliveryUnavailable(f"The job wants its files on the volume, which cannot be used: {reason}.")
        return root


def account_of(bucket: JobBucket) -> Account:
    """The account that a job brings (RunPod's `s3Config`). Raises DeliveryUnavailable."""
    try:
        place = located(bucket.endpoint, bucket=bucket.name)
    except ValueError as error:
        raise DeliveryUnavailable(f"The s3Config's endpointUrl cannot be used: {error}.") from None
    return Account(place, bucket.access_key_id, bucket.secret_access_key)


async def _uploaded(bucket: Bucket, key: str, output: Output, turn: asyncio.Semaphore) -> str:
    async with turn:
        await bucket.upload(key, output.path, output.media_type)
        return await bucket.link(key)


async def _all_of(works: Iterable[Coroutine[Any, Any, str]]) -> list[str]:
    """The results of all; when one fails, the others are given up and its error is raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _size_in_answer(outputs: Outputs) -> int:
    lists = _lists(outputs, [("base64", "")] * len(outputs.files))
    return _bytes_of(lists, outputs, tuple(output.size for output in outputs.files))


def _bytes_of(lists: dict[str, Any], outputs: Outputs, files: tuple[int, ...] = ()) -> int:
    return inline.answer_bytes({**lists, "errors": outputs.problems}, files)


def _lists(outputs: Outputs, places: list[tuple[str, str]]) -> dict[str, Any]:
    """The answer's lists of items by kind: worker-comfyui's `filename`, `type`, `data`, and what else is known."""
    lists: dict[str, Any] = {}
    for output, (type_, data) in zip(outputs.files, places, strict=True):
        subfolder = {"subfolder": output.stored.subfolder} if output.stored.subfolder else {}
        item = {"filename": output.stored.filename, **subfolder, "type": type_, "data": data, **_known(output)}
        lists.setdefault(output.kind, []).append(item)
    for node_id, text in outputs.text:
        item = {"type": "text", "data": text, "node_id": node_id, "media_type": "text/plain"}
        lists.setdefault("text", []).append(item)
    return lists


def _known(output: Output) -> dict[str, Any]:
    return {
        "node_id": output.node_id,
        "media_type": output.media_type,
        "size": output.size,
        "sha256": output.sha256,
    }
