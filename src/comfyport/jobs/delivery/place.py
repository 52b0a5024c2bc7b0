"""Where a bucket is: an endpoint as people write it -> service, bucket, region and what the keys begin with.

worker-comfyui hands BUCKET_ENDPOINT_URL to RunPod's `rp_upload`, which asks for the bucket `%m-%y` (month and year) at
that address. Where the address names a bucket already, in its host or its path, S3 takes the month for the beginning of
the key. Both are kept, so that files go on arriving where they did.
"""

import re
import time
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import urlsplit

Service = Literal["s3", "gcs", "azure"]

DEFAULT_REGION = "us-east-1"
LONGEST_LINK_SECONDS = 7 * 24 * 3600

# The hosts of services that may have the bucket before them (virtual-hosted style), and where they name the region.
_HOSTS = tuple(
    re.compile(rf"(?:(?P<bucket>.+)\.)?{host}")
    for host in (
        r"(?P<region>[a-z0-9]+)\.digitaloceanspaces\.com",
        r"[0-9a-f]{32}(?:\.[a-z]+)?\.r2\.cloudflarestorage\.com",
        r"storage\.googleapis\.com",
        r"s3api-(?P<region>[a-z0-9-]+)\.runpod\.io",
        r"s3(?:\.dualstack)?(?:[.-](?P<region>[a-z]{2,4}(?:-[a-z0-9]+)+))?\.[a-z0-9-]+\..+",
    )
)


@dataclass(frozen=True)
class Place:
    """A bucket. `endpoint` is where requests go; `in_host` says that it names the bucket; `prefix` begins every key.

    In a `monthly` one the month is the bucket's name, if it has none, or else what the keys begin with.
    """

    service: Service
    endpoint: str
    bucket: str
    region: str
    prefix: str
    in_host: bool = False
    monthly: bool = False

    def in_month(self, month: str) -> "Place":
        """The place for the files of one month, as `this_month` writes it."""
        if not self.monthly:
            return self
        if not self.bucket:
            return replace(self, bucket=month, monthly=False)
        return replace(self, prefix=_joined(self.prefix, month), monthly=False)


def this_month() -> str:
    """Month and year, as 11-26."""
    return time.strftime("%m-%y")


def located(endpoint: str, *, bucket: str = "", region: str = "", prefix: str = "") -> Place:
    """The bucket at an address.

    `https://…` is S3 or alike, `gs://BUCKET` Google Cloud Storage, `az://ACCOUNT/CONTAINER` Azure; more parts of the
    path begin the keys. `bucket` names one that the address does not. Raises ValueError.
    """
    parts = urlsplit(endpoint)
    segments = [segment for segment in parts.path.split("/") if segment]
    if not parts.hostname:
        raise ValueError("the address names no host")
    if parts.scheme == "gs":
        return Place("gcs", "", parts.netloc, "", _joined(*segments, prefix))
    if parts.scheme == "az":
        if not segments:
            raise ValueError("write az://ACCOUNT/CONTAINER")
        return Place("azure", parts.netloc, segments[0], "", _joined(*segments[1:], prefix))
    if parts.scheme not in ("http", "https"):
        raise ValueError("write an address that starts with https://, gs:// or az://")
    return _s3(f"{parts.scheme}://{parts.netloc}", parts.hostname, segments, bucket, region, prefix)


def _s3(base: str, host: str, segments: list[str], bucket: str, region: str, prefix: str) -> Place:
    found = next((match for pattern in _HOSTS if (match := pattern.fullmatch(host))), None)
    groups = found.groupdict() if found else {}
    in_host, region = groups.get("bucket") or "", region or groups.get("region") or DEFAULT_REGION
    named = in_host or (segments.pop(0) if segments else "")
    if not named:
        return Place("s3", base, bucket, region, _joined(prefix), monthly=not bucket)
    whole = _joined(*segments, "" if bucket == named else bucket, prefix)
    return Place("s3", base, named, region, whole, in_host=bool(in_host), monthly=not bucket and not prefix)


def _joined(*parts: str) -> str:
    return "/".join(part.strip("/") for part in parts if part.strip("/"))
