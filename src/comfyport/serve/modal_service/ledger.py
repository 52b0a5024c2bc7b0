"""What is known of jobs beside their calls, in two Modal Dicts that every container of the app can reach (modal 1.6).

`<app>-jobs` holds, under a job's id: what came with it (`Record`, written by the HTTP face), how far it is (`Account`,
written by the GPU container that has it), and its input while a retry may want it. Each entry has one writer, so that
none undoes another's. `<app>-waiting` has the ids of the jobs that wait, since Modal does not list its calls.

Modal forgets an entry that nobody read or wrote for 7 days, as it does a call's result; one holds 100 MiB at most, and
each access takes some ten ms (https://modal.com/docs/guide/dicts). Values are plain, so that whoever reads them needs
no code of ours.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import modal

from comfyport.errors import EndpointFailed

Json = dict[str, Any]
_T = TypeVar("_T")

KEEP_SECONDS = 7 * 24 * 3600
# A job's input up to this size is kept until it is done; a dozen of megabytes a job would be felt at each `/run`.
KEPT_INPUT_BYTES = 4 << 20


@dataclass(frozen=True)
class Record:
    """What came with a job, and what was asked for since; times in seconds, `queued_at` since 1970.

    `call` is the call that has it now: another than the first one after a retry.
    """

    call: str
    queued_at: float
    ttl: float | None = None
    webhook: str = ""
    retries: int = 0
    cancelled: bool = False


@dataclass(frozen=True)
class Account:
    """How far a job is, as its GPU container tells: `told` are its latest events by number, `began` the first one's.

    `retries` says which attempt at the job it is about; `ended_at` is None until it is over.
    """

    retries: int
    worker: str
    queued_at: float
    started_at: float
    began: int
    told: list[tuple[int, Json]]
    ended_at: float | None = None

    @property
    def last(self) -> int:
        """The number of the latest event."""
        return self.told[-1][0]


class Ledger:
    """Reads and writes both Dicts of `app`. All methods raise EndpointFailed where Modal cannot be asked."""

    def __init__(self, app: str) -> None:
        self._jobs = modal.Dict.from_name(f"{app}-jobs", create_if_missing=True)
        self._waiting = modal.Dict.from_name(f"{app}-waiting", create_if_missing=True)

    async def open(self, job_id: str, record: Record, given: Json | None) -> None:
        """A job waits, for the first time or again; `given` is what it was sent with, if that shall be kept."""
        entries = {_key("record", job_id): asdict(record)} | ({_key("input", job_id): given} if given else {})
        await asyncio.gather(
            _asked(self._jobs.update.aio(entries)), _asked(self._waiting.put.aio(job_id, record.queued_at))
        )

    async def record(self, job_id: str) -> Record | None:
        """What came with a job; None for one that did not come through the HTTP face."""
        found = await _asked(self._jobs.get.aio(_key("record", job_id)))
        return None if found is None else Record(**found)

    async def cancel(self, job_id: str, record: Record) -> None:
        """A job shall not be done; `record` says so."""
        await asyncio.gather(
            _asked(self._jobs.put.aio(_key("record", job_id), asdict(record))),
            self.leave_waiting(job_id),
            self.drop_input(job_id),
        )

    async def account(self, job_id: str) -> Account | None:
        """How far a job is; None if no container has had it yet."""
        found = await _asked(self._jobs.get.aio(_key("account", job_id)))
        return None if found is None else Account(**found)

    async def tell(self, job_id: str, account: Account) -> None:
        """Replaces the account of a job."""
        await _asked(self._jobs.put.aio(_key("account", job_id), asdict(account)))

    async def given(self, job_id: str) -> Json | None:
        """What a job was sent with, if that was kept."""
        found: Json | None = await _asked(self._jobs.get.aio(_key("input", job_id)))
        return found

    async def drop_input(self, job_id: str) -> None:
        """No retry will want the input of this job."""
        await _asked(self._jobs.pop.aio(_key("input", job_id), None))

    async def handed_out(self, job_id: str) -> int:
        """The number of the last event that RunPod's `/stream` has given."""
        return int(await _asked(self._jobs.get.aio(_key("read", job_id), 0)))

    async def hand_out(self, job_id: str, number: int) -> None:
        """RunPod's `/stream` has given everything up to this event."""
        await _asked(self._jobs.put.aio(_key("read", job_id), number))

    async def claim(self, name: str, value: Json) -> bool:
        """Writes `value` under `name` unless something is there; of several at once one succeeds."""
        return bool(await _asked(self._jobs.put.aio(_key("claim", name), value, skip_if_exists=True)))

    async def claimed(self, name: str) -> Json | None:
        """What is written under `name`."""
        found: Json | None = await _asked(self._jobs.get.aio(_key("claim", name)))
        return found

    async def reclaim(self, name: str, value: Json | None) -> None:
        """Replaces what is written under `name`, or takes it away."""
        if value is None:
            await _asked(self._jobs.pop.aio(_key("claim", name), None))
        else:
            await _asked(self._jobs.put.aio(_key("claim", name), value))

    async def leave_waiting(self, job_id: str) -> None:
        """A job does not wait any more."""
        await _asked(self._waiting.pop.aio(job_id, None))

    async def waiting(self) -> AsyncIterator[str]:
        """The ids of the jobs that wait; some may have ended meanwhile."""
        with _translated():
            async for job_id in self._waiting.keys.aio():
                yield job_id


def _key(kind: str, name: str) -> str:
    return f"{kind}/{name}"


async def _asked(question: Coroutine[Any, Any, _T]) -> _T:
    with _translated():
        return await question


@contextmanager
def _translated() -> Any:
    try:
        yield
    except modal.exception.Error as error:
        raise EndpointFailed("Modal", str(error) or type(error).__name__) from None
