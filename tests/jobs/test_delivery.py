"""How a job's files are delivered: in the answer, in a bucket of a real S3 server, on the volume; and what may fail."""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests

from comfyport.comfyui.client import StoredFile
from comfyport.errors import AnswerTooLarge, DeliveryFailed, DeliveryUnavailable
from comfyport.jobs.delivery.deliverer import Deliverer, Means
from comfyport.jobs.delivery.inline import ENVELOPE_BYTES
from comfyport.jobs.delivery.keys import folder_of, names_of
from comfyport.jobs.delivery.place import Place, located
from comfyport.jobs.delivery.setup import account_set_up
from comfyport.jobs.delivery.store import Account, Bucket
from comfyport.jobs.outputs import Output, Outputs
from comfyport.jobs.request import Request, parse
from tests import workflows
from tests.conftest import free_port, run, running_host
from tests.s3 import KEY_ID, S3, SECRET, FaultyProxy

ROOMY, TIGHT = 10**6, ENVELOPE_BYTES + 100


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with S3() as server:
        yield server


@pytest.fixture
def bucket(s3: S3) -> str:
    return s3.new_bucket()


def account(endpoint: str, bucket: str, **more: Any) -> Account:
    return Account(located(endpoint, bucket=bucket), KEY_ID, SECRET, **more)


def job(**fields: Any) -> Request:
    given = {"id": "job-1", "input": {"workflow": {"1": {"inputs": {}}}}}
    s3_config = fields.pop("s3_config", None)
    return parse(given | {"input": {**given["input"], **fields}} | ({"s3Config": s3_config} if s3_config else {}))


def asking_for(delivery: str, **fields: Any) -> Request:
    return job(output={"delivery": delivery}, **fields)


def files(folder: Path, *contents: bytes, name: str = "a.png", subfolder: str = "") -> Outputs:
    found = []
    for number, content in enumerate(contents):
        path = folder / f"{number}"
        path.write_bytes(content)
        stored = StoredFile(name, subfolder, "output")
        found.append(Output("images", "9", stored, path, "image/png", len(content), f"digest of {number}"))
    return Outputs(tuple(found))


async def delivered(means: Means, outputs: Outputs, request: Request) -> dict[str, Any]:
    deliverer = Deliverer(means)
    await deliverer.check(request)
    return await deliverer.deliver(outputs, request)


async def test_what_is_small_is_in_the_answer(tmp_path: Path):
    answer = await delivered(Means(ROOMY), files(tmp_path, b"content", subfolder="sub"), asking_for("auto"))

    assert answer == {
        "images": [
            {
                "filename": "a.png",
                "subfolder": "sub",
                "type": "base64",
                "data": base64.b64encode(b"content").decode(),
                "node_id": "9",
                "media_type": "image/png",
                "size": 7,
                "sha256": "digest of 0",
            }
        ]
    }


@pytest.mark.parametrize("size", [1, 2, 3, 5000])
async def test_the_whole_answer_counts_as_it_is_sent(tmp_path: Path, size: int):
    outputs = Outputs(files(tmp_path, bytes(size)).files, text=(("1", "é" * 100),), problems=("gone.png is gone",))
    lists = await delivered(Means(ROOMY), outputs, job())
    exact = ENVELOPE_BYTES + len(json.dumps({**lists, "errors": outputs.problems}))

    assert await delivered(Means(exact), outputs, job())
    with pytest.raises(AnswerTooLarge):
        await delivered(Means(exact - 1), outputs, job())


async def test_what_does_not_fit_goes_to_the_bucket(s3: S3, bucket: str, tmp_path: Path):
    means = Means(TIGHT * 2, account(s3.url, bucket), volume=tmp_path)

    answer = await delivered(means, files(tmp_path, bytes(5000), subfolder="a b"), asking_for("auto"))

    [item] = answer["images"]
    got = await asyncio.to_thread(requests.get, item["data"], timeout=10)
    assert (item["type"], item["size"]) == ("s3_url", 5000)
    assert (got.content, got.headers["Content-Type"]) == (bytes(5000), "image/png")
    assert s3.content(bucket) == {"job-1/a b/a.png": (bytes(5000), "image/png")}
    assert "X-Amz-Expires=604800" in item["data"]


async def test_a_large_file_goes_in_parts(s3: S3, bucket: str, tmp_path: Path):
    content = os.urandom(20 << 20)
    with FaultyProxy(s3.url, times=0) as proxy:
        means = Means(ROOMY, account(proxy.url, bucket))
        await delivered(means, files(tmp_path, content), asking_for("s3"))

    assert s3.content(bucket)["job-1/a.png"] == (content, "image/png")
    assert sum(asked.startswith("PUT") for asked in proxy.requests) == 4


async def test_files_of_the_same_name_do_not_overwrite_each_other(s3: S3, bucket: str, tmp_path: Path):
    means = Means(ROOMY, account(s3.url, bucket))

    answer = await delivered(means, files(tmp_path, b"1", b"2", b"3"), asking_for("s3"))

    got = [await asyncio.to_thread(requests.get, item["data"], timeout=10) for item in answer["images"]]
    assert [response.content for response in got] == [b"1", b"2", b"3"]


async def test_links_can_be_public_and_keys_have_a_prefix(s3: S3, bucket: str, tmp_path: Path):
    place = located(s3.url, bucket=bucket, prefix="/renders/")
    means = Means(ROOMY, Account(place, KEY_ID, SECRET, public_url="https://cdn.example.com/x/"))

    answer = await delivered(means, files(tmp_path, b"1", name="a b.png"), asking_for("s3"))

    assert answer["images"][0]["data"] == "https://cdn.example.com/x/renders/job-1/a%20b.png"
    assert list(s3.content(bucket)) == ["renders/job-1/a b.png"]


async def test_a_jobs_own_bucket_is_used_and_nothing_of_the_workers_account_goes_there(
    s3: S3, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AWS_SESSION_TOKEN", "the worker's token")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{free_port()}")
    with FaultyProxy(s3.url, times=0) as proxy:
        config = {"accessId": "theirs", "accessSecret": "secret", "bucketName": bucket, "endpointUrl": proxy.url}
        means = Means(ROOMY, account(s3.url, s3.new_bucket()), private_urls=True)
        answer = await delivered(means, files(tmp_path, b"1"), job(s3_config=config))

    assert answer["images"][0]["type"] == "s3_url"
    assert list(s3.content(bucket)) == ["job-1/a.png"]
    assert "theirs" in proxy.headers[0]["Authorization"]
    assert "X-Amz-Security-Token" not in {name.title() for name in proxy.headers[0]}


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://example.com",
        "https://127.0.0.1:9000",
        "https://localhost",
        "https://10.1.2.3",
        "https://169.254.169.254",
        "https://[::1]",
        "https://[::ffff:127.0.0.1]",
        "https://2130706433",
        "https://no-such-host.invalid",
        "https://",
        "ftp://example.com",
        "gs://bucket",
    ],
)
async def test_a_jobs_own_bucket_must_be_on_the_internet(endpoint: str):
    config = {"accessId": "a", "accessSecret": "b", "bucketName": "c", "endpointUrl": endpoint}

    with pytest.raises(DeliveryUnavailable, match="endpointUrl"):
        await Deliverer(Means(ROOMY)).check(job(s3_config=config))


async def test_what_does_not_fit_goes_to_the_volume_without_a_bucket(tmp_path: Path):
    outputs = files(tmp_path, bytes(5000), bytes(6000), subfolder="s")

    answer = await delivered(Means(TIGHT * 2, volume=tmp_path / "volume"), outputs, asking_for("auto"))

    assert [(item["type"], item["data"]) for item in answer["images"]] == [
        ("volume", "outputs/job-1/s/a.png"),
        ("volume", "outputs/job-1/s/a-2.png"),
    ]
    written = {path.name: path.stat().st_size for path in (tmp_path / "volume").rglob("*") if path.is_file()}
    assert written == {"a.png": 5000, "a-2.png": 6000}


async def test_what_fits_nowhere_is_an_error(tmp_path: Path):
    with pytest.raises(AnswerTooLarge) as refused:
        await delivered(Means(TIGHT), files(tmp_path, bytes(5000)), asking_for("auto"))

    assert refused.value.details["limit"] == TIGHT


async def test_base64_that_does_not_fit_is_an_error_even_with_a_bucket(s3: S3, bucket: str, tmp_path: Path):
    with pytest.raises(AnswerTooLarge):
        await delivered(Means(TIGHT, account(s3.url, bucket)), files(tmp_path, bytes(5000)), asking_for("base64"))


@pytest.mark.parametrize(
    ("means", "request_"), [(Means(ROOMY), asking_for("s3")), (Means(ROOMY), asking_for("volume"))]
)
async def test_what_is_not_set_up_is_told_before_the_job_runs(means: Means, request_: Request):
    with pytest.raises(DeliveryUnavailable):
        await Deliverer(means).check(request_)


async def test_a_volume_that_cannot_be_written_to_is_told_before_the_job_runs(tmp_path: Path):
    (tmp_path / "volume").write_text("not a folder")

    with pytest.raises(DeliveryUnavailable):
        await Deliverer(Means(ROOMY, volume=tmp_path / "volume")).check(asking_for("volume"))


@pytest.mark.parametrize("delivery", ["auto", "s3"])
@pytest.mark.parametrize(
    ("key_id", "secret", "missing"),
    [
        ("", "b", "BUCKET_ACCESS_KEY_ID"),
        ("a", "", "BUCKET_SECRET_ACCESS_KEY"),
        ("", "", "BUCKET_ACCESS_KEY_ID and BUCKET_SECRET_ACCESS_KEY"),
    ],
)
async def test_missing_credentials_are_an_error_before_the_job_runs(
    delivery: str, key_id: str, secret: str, missing: str
):
    _, problem = set_up("https://s3.example.com/b", access_key_id=key_id, secret_access_key=secret)

    with pytest.raises(DeliveryUnavailable, match=f"not {missing}:"):
        await Deliverer(Means(ROOMY, bucket_problem=problem)).check(asking_for(delivery))


def set_up(endpoint: str, **given: Any) -> tuple[Account | None, str]:
    defaults = {"name": "", "region": "", "prefix": "", "access_key_id": "a", "secret_access_key": "b"}
    return account_set_up(endpoint, **defaults | {"public_url": "", "link_seconds": 60} | given)


async def test_a_google_key_that_is_none_is_told_before_the_job_runs():
    found, _ = set_up("gs://bucket", secret_access_key="not JSON, and a secret")

    with pytest.raises(DeliveryUnavailable) as refused:
        await Deliverer(Means(ROOMY, found)).check(asking_for("s3"))

    assert "secret" not in refused.value.message


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (403, r"refuses the credentials \(403 SignatureDoesNotMatch\)"),
        (401, "refuses the credentials"),
        (400, "answers 400"),
        (503, "answers 503"),
        (302, "another region"),
    ],
)
async def test_a_bucket_that_refuses_is_a_clear_error(s3: S3, bucket: str, tmp_path: Path, status: int, reason: str):
    with FaultyProxy(s3.url, status=status) as proxy:
        means = Means(ROOMY, account(proxy.url, bucket))
        with pytest.raises(DeliveryFailed) as failed:
            await delivered(means, files(tmp_path, b"1", b"2"), asking_for("s3"))

    assert re.search(reason, failed.value.message)
    assert KEY_ID not in json.dumps(failed.value.as_answer())
    assert SECRET not in json.dumps(failed.value.as_answer())


async def test_a_bucket_that_stumbles_is_asked_again(s3: S3, bucket: str, tmp_path: Path):
    with FaultyProxy(s3.url, status=503, times=2) as proxy:
        answer = await delivered(Means(ROOMY, account(proxy.url, bucket)), files(tmp_path, b"1"), asking_for("s3"))

    assert answer["images"][0]["type"] == "s3_url"
    assert list(s3.content(bucket)) == ["job-1/a.png"]


async def test_a_bucket_that_never_answers_is_given_up(s3: S3, bucket: str, tmp_path: Path):
    with FaultyProxy(s3.url) as proxy:
        means = Means(ROOMY, account(proxy.url, bucket), request_seconds=0.2)
        with pytest.raises(DeliveryFailed, match="does not answer in time"):
            await delivered(means, files(tmp_path, b"1"), asking_for("s3"))

    assert len(proxy.requests) > 1


async def test_a_bucket_that_is_not_reached_is_a_clear_error(tmp_path: Path):
    means = Means(ROOMY, account(f"http://127.0.0.1:{free_port()}", "bucket"))

    with pytest.raises(DeliveryFailed, match="no connection"):
        await delivered(means, files(tmp_path, b"1"), asking_for("s3"))


async def test_a_bucket_that_does_not_exist_is_named(s3: S3, tmp_path: Path):
    with pytest.raises(DeliveryFailed, match=r"no-such-bucket: it does not exist"):
        await delivered(Means(ROOMY, account(s3.url, "no-such-bucket")), files(tmp_path, b"1"), asking_for("s3"))


MONTH = "11-26"


@pytest.mark.parametrize(
    ("endpoint", "given", "bucket", "prefix", "region", "in_host"),
    [
        ("https://b.s3.eu-central-1.amazonaws.com", {}, "b", MONTH, "eu-central-1", True),
        ("https://b.s3.amazonaws.com", {}, "b", MONTH, "us-east-1", True),
        ("https://b.c.s3.us-west-2.amazonaws.com", {"bucket": "b.c"}, "b.c", "", "us-west-2", True),
        ("https://b.s3.eu-west-1.amazonaws.com", {"prefix": "p"}, "b", "p", "eu-west-1", True),
        ("https://b.s3.eu-west-1.amazonaws.com", {"bucket": "x"}, "b", "x", "eu-west-1", True),
        ("https://s3.eu-west-1.amazonaws.com", {"bucket": "x"}, "x", "", "eu-west-1", False),
        ("https://s3.us-west-004.backblazeb2.com/b", {"bucket": "b"}, "b", "", "us-west-004", False),
        ("https://b.fra1.digitaloceanspaces.com", {}, "b", MONTH, "fra1", True),
        ("https://0123456789abcdef0123456789abcdef.r2.cloudflarestorage.com/b", {}, "b", MONTH, "us-east-1", False),
        ("https://0123456789abcdef0123456789abcdef.eu.r2.cloudflarestorage.com", {}, MONTH, "", "us-east-1", False),
        ("https://storage.googleapis.com/b", {"region": "auto"}, "b", MONTH, "auto", False),
        ("https://s3api-eu-ro-1.runpod.io/volume", {"bucket": "volume"}, "volume", "", "eu-ro-1", False),
        ("http://minio:9000", {"bucket": "b", "prefix": "p/q"}, "b", "p/q", "us-east-1", False),
        ("http://minio:9000/b/deep/er", {"prefix": "p"}, "b", "deep/er/p", "us-east-1", False),
        ("https://s3.example.com", {}, MONTH, "", "us-east-1", False),
    ],
)
def test_an_address_names_a_bucket(
    endpoint: str, given: dict[str, str], bucket: str, prefix: str, region: str, in_host: bool
):
    place = located(endpoint, **given).in_month(MONTH)

    assert (place.bucket, place.prefix) == (bucket, prefix)
    assert (place.service, place.region, place.in_host) == ("s3", region, in_host)


async def test_a_worker_that_lives_on_puts_the_files_of_the_next_month_there(s3: S3, bucket: str, tmp_path: Path):
    place = located(f"{s3.url}/{bucket}")
    months = iter(["11-26", "12-26"])
    deliverer = Deliverer(Means(ROOMY, Account(place, KEY_ID, SECRET)), month=lambda: next(months))

    for _ in range(2):
        await deliverer.deliver(files(tmp_path, b"1"), asking_for("s3"))

    assert sorted(s3.content(bucket)) == ["11-26/job-1/a.png", "12-26/job-1/a.png"]


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("gs://b/p", Place("gcs", "", "b", "", "p")),
        ("az://account/container/p/q", Place("azure", "account", "container", "", "p/q")),
    ],
)
def test_an_address_may_be_of_another_cloud(endpoint: str, expected: Place):
    assert located(endpoint) == expected


@pytest.mark.parametrize("endpoint", ["az://account", "https://", "ftp://host/b", "nonsense"])
def test_an_address_that_is_none_is_refused(endpoint: str):
    with pytest.raises(ValueError, match="address|write"):
        located(endpoint)


async def test_links_stay_at_the_host_that_names_the_bucket():
    there = Bucket(account("https://b.s3.eu-central-1.amazonaws.com", "b"))

    link = urlsplit(await there.link("job/a.png"))

    assert (link.hostname, link.path) == ("b.s3.eu-central-1.amazonaws.com", "/job/a.png")
    assert "eu-central-1%2Fs3" in link.query


async def test_links_are_signed_as_s3_asks():
    """The signature is computed again by the rules of Signature Version 4, since moto takes any."""
    there = Bucket(account("https://s3.eu-central-1.amazonaws.com", "b", link_seconds=3600))

    link = urlsplit(await there.link("job/a b.png"))

    query, signature = link.query.split("&X-Amz-Signature=")
    asked = dict(parse_qsl(query))
    assert asked["X-Amz-Expires"] == "3600"
    assert asked["X-Amz-Credential"].startswith(f"{KEY_ID}/")
    scope = asked["X-Amz-Credential"].removeprefix(f"{KEY_ID}/")
    canonical = "\n".join(["GET", link.path, query, f"host:{link.netloc}", "", "host", "UNSIGNED-PAYLOAD"])
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    key = f"AWS4{SECRET}".encode()
    for part in (*scope.split("/"), "\n".join(["AWS4-HMAC-SHA256", asked["X-Amz-Date"], scope, digest])):
        key = hmac.digest(key, part.encode(), "sha256")
    assert signature == key.hex()


async def test_links_of_azure_are_signed():
    found, _ = set_up("az://account/container", access_key_id="", secret_access_key=base64.b64encode(b"key").decode())
    assert found is not None

    link = urlsplit(await Bucket(found).link("job/a é.png"))

    assert (link.hostname, link.path) == ("account.blob.core.windows.net", "/container/job/a_20_e9.png")
    assert "sig=" in link.query


@pytest.mark.parametrize("id", ["", "../x", "a/b", "..", ".", ".hidden", "ä", "a\0b", "x" * 500, "a b"])
def test_an_odd_id_is_one_safe_part_of_a_path(id: str):
    assert re.fullmatch(r"[0-9a-f]{32}", folder_of(id))


@pytest.mark.parametrize("id", ["7", "sync-0eebceae-3f52-e1", "a.b_c"])
def test_a_plain_id_is_kept(id: str):
    assert folder_of(id) == id


def test_names_are_safe_and_no_two_alike(tmp_path: Path):
    stored = [("a.png", ""), ("A.png", ""), ("a.png", "x/../.."), ("a-2.png", ""), ("b\n\\c.png", "x//y")]
    outputs = [Output("images", "1", StoredFile(*pair, "output"), tmp_path, "", 0, "") for pair in stored]

    assert names_of(tuple(outputs)) == ["a.png", "A-2.png", "x/a.png", "a-2-2.png", "x/y/b__c.png"]


def test_a_worker_with_a_bucket_answers_with_links_as_worker_comfyui_does(s3: S3, bucket: str, tmp_path: Path):
    environ = {"BUCKET_ENDPOINT_URL": f"{s3.url}/{bucket}", "BUCKET_ACCESS_KEY_ID": KEY_ID}
    with running_host(tmp_path, **environ, BUCKET_SECRET_ACCESS_KEY=SECRET) as host:
        answer = run(host, {"workflow": workflows.scaled()})
        inline = run(host, {"workflow": workflows.scaled(), "output": {"delivery": "auto"}})

    [item] = answer["images"]
    assert item["type"] == "s3_url"
    assert requests.get(item["data"], timeout=10).content == base64.b64decode(inline["images"][0]["data"])
    [key] = s3.content(bucket)
    assert re.fullmatch(r"\d\d-\d\d/job/scaled_00001_\.png", key)


def test_a_worker_whose_bucket_lacks_credentials_says_so_and_runs_nothing(tmp_path: Path):
    with running_host(tmp_path, BUCKET_ENDPOINT_URL="https://s3.example.com/b") as host:
        answer = run(host, {"workflow": workflows.scaled()})

    assert answer["error_code"] == "delivery_unavailable"
    assert "BUCKET_ACCESS_KEY_ID" in answer["error"]


def test_a_worker_puts_what_is_too_large_on_its_volume(tmp_path: Path):
    workflow = {
        "1": workflows.node("EmptyImage", width=16, height=16, batch_size=10, color=0),
        "2": workflows.node("SaveImage", images=["1", 0], filename_prefix="many"),
    }
    with running_host(tmp_path, ANSWER_LIMIT_MB="0.006") as host:
        answer = run(host, {"workflow": workflow})

    assert [item["data"] for item in answer["images"]] == [
        f"outputs/job/many_{number:05}_.png" for number in range(1, 11)
    ]
    for item in answer["images"]:
        assert item["type"] == "volume"
        assert (tmp_path / "volume" / item["data"]).stat().st_size == item["size"]


def test_a_program_may_end_right_after_a_delivery(tmp_path: Path):
    """Where obstore's threads are still at it, Python is aborted: one time in five, so that several are tried."""
    program = tmp_path / "program.py"
    program.write_text(
        "import asyncio\n"
        "from comfyport.jobs.delivery.place import located\n"
        "from comfyport.jobs.delivery.store import Account, Bucket\n"
        'there = Bucket(Account(located("https://s3.example.com", bucket="b"), "id", "secret"))\n'
        'asyncio.run(there.link("key"))\n'
    )

    running = [subprocess.Popen([sys.executable, str(program)]) for _ in range(8)]

    assert [process.wait(60) for process in running] == [0] * 8
