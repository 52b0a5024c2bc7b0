"""Files into a bucket, and links to them: S3 and alike, Google Cloud Storage, Azure, all through obstore."""

import atexit
import re
import time
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import AzureStore, GCSStore, S3Store

from comfyport.errors import DeliveryFailed
from comfyport.jobs.delivery.place import Place

CONNECT_SECONDS = 5
# A request carries one part of a file, and is given this long; a slow line moves that much in it.
REQUEST_SECONDS = 60
RETRIES = 2
# Parts of one file that are in memory at the same time, and under way. 5 MiB is the least that S3 takes.
PARTS = 3
PART_BYTES = 5 << 20
EXIT_SECONDS = 0.1

_STATUS = re.compile(r"non-2xx status code: (\d{3}) ?([A-Za-z ]*)")
_ENCODED = re.compile(r"[^A-Za-z0-9._~/-]")
_CODE = re.compile(r"<Code>(\w{1,64})</Code>")


@dataclass(frozen=True)
class Account:
    """A bucket with the credentials for it.

    For Google Cloud Storage `secret_access_key` is a service account's key as JSON, for Azure the account's key.
    `public_url` is what files are linked below, instead of by links that are signed and last `link_seconds`.
    """

    place: Place
    access_key_id: str = field(repr=False)
    secret_access_key: str = field(repr=False)
    public_url: str = ""
    link_seconds: int = 7 * 24 * 3600


class Bucket:
    """One bucket, reached with one account; `request_seconds` is how long a request may take."""

    def __init__(self, account: Account, *, request_seconds: float = REQUEST_SECONDS) -> None:
        self._account = account
        self._prefix = account.place.prefix
        self._store = _store(account, request_seconds)
        _wait_for_threads_at_exit()

    async def upload(self, key: str, file: Path, media_type: str) -> None:
        """Puts a file under `key`, from disk and in parts if it is large. Raises DeliveryFailed."""
        try:
            await obstore.put_async(
                self._store,
                self._whole(key),
                file,
                attributes={"Content-Type": media_type},
                chunk_size=PART_BYTES,
                max_concurrency=PARTS,
            )
        except (BaseError, OSError, ValueError) as error:
            raise DeliveryFailed(key, f"the bucket {self._account.place.bucket}: {_reason(error)}") from None

    async def link(self, key: str) -> str:
        """The address at which anybody can fetch what lies under `key`. Raises DeliveryFailed."""
        whole = self._whole(key)
        if self._account.public_url:
            return f"{self._account.public_url.rstrip('/')}/{quote(whole)}"
        try:
            lasting = timedelta(seconds=self._account.link_seconds)
            return await obstore.sign_async(self._store, "GET", whole, lasting)
        except (BaseError, OSError, ValueError) as error:
            raise DeliveryFailed(key, f"it is in the bucket, but no link can be signed: {_reason(error)}") from None

    def _whole(self, key: str) -> str:
        whole = f"{self._prefix}/{key}" if self._prefix else key
        # obstore 0.12 signs links to Azure over the encoded path, Azure over the path as it is: they must be the same.
        azure = self._account.place.service == "azure"
        return _ENCODED.sub(lambda found: f"_{ord(found[0]):x}", whole) if azure else whole


@cache
def _wait_for_threads_at_exit() -> None:
    """Lets obstore's threads hand their last result over: a Python that ends meanwhile is aborted.

    https://github.com/PyO3/pyo3-async-runtimes/issues/40
    """
    atexit.register(time.sleep, EXIT_SECONDS)


def _store(account: Account, request_seconds: float) -> S3Store | GCSStore | AzureStore:
    """The store for an account. Raises ValueError for credentials that are not of the right form."""
    place = account.place
    options: Any = {
        "client_options": {
            "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
            "timeout": timedelta(seconds=request_seconds),
            "allow_http": True,
        },
        "retry_config": {
            "max_retries": RETRIES,
            "retry_timeout": timedelta(seconds=request_seconds * (RETRIES + 1)),
            "backoff": {"init_backoff": timedelta(seconds=0.2), "max_backoff": timedelta(seconds=5), "base": 2},
        },
    }
    try:
        if place.service == "gcs":
            return GCSStore(place.bucket, service_account_key=account.secret_access_key, **options)
        if place.service == "azure":
            key = account.secret_access_key
            return AzureStore(place.bucket, account_name=place.endpoint, account_key=key, **options)
        return _s3_store(account, options)
    except BaseError:
        raise ValueError("credentials that are not of the right form") from None


def _s3_store(account: Account, options: Any) -> S3Store:
    """obstore reads the AWS_* variables of the environment too; what is said here wins over all that matter."""
    place = account.place
    credentials: Any = {
        "access_key_id": account.access_key_id,
        "secret_access_key": account.secret_access_key,
        "token": None,
        "expires_at": None,
    }
    return S3Store(
        place.bucket,
        aws_endpoint_url_s3=place.endpoint,
        region=place.region,
        virtual_hosted_style_request=place.in_host,
        skip_signature=False,
        s3_express=False,
        credential_provider=lambda: credentials,
        **options,
    )


def _reason(error: Exception) -> str:
    """What went wrong, in words of ours: the store's have the address, and what the server answered, in them."""
    text = str(error)
    status, code = _STATUS.search(text), _CODE.search(text)
    answered = " ".join(part for part in (status and status[1], code and code[1]) if part)
    if isinstance(error, PermissionDeniedError | UnauthenticatedError):
        return f"it refuses the credentials ({answered or 'access denied'})"
    if code and code[1] in ("NoSuchBucket", "ContainerNotFound"):
        return "it does not exist"
    if "Received redirect" in text:
        return "it is in another region; set BUCKET_REGION"
    if answered:
        return f"it answers {answered}"
    if "Timeout" in text or "timed out" in text:
        return "it does not answer in time"
    if "kind: Connect" in text:
        return "no connection to it can be made"
    return f"{type(error).__name__}"
