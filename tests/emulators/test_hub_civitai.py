import hashlib
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
import requests

from emulators.hub import CivitaiFile, CivitaiVersion, Fault, HubEmulator

FULL = b"full weights" * 1000
PRUNED = b"pruned weights" * 500
TOKEN = {"Authorization": "Bearer civitai-key"}


def shelf() -> dict[int, CivitaiVersion]:
    files = (
        CivitaiFile(id=11, name="full.safetensors", data=FULL),
        CivitaiFile(id=12, name="pruned model.safetensors", data=PRUNED, primary=True),
    )
    return {5: CivitaiVersion(files=files), 6: CivitaiVersion(files=files, needs_login=False)}


@pytest.fixture
def hub() -> Iterator[HubEmulator]:
    with HubEmulator(civitai=shelf(), tokens={"civitai-key"}) as emulator:
        yield emulator


def test_a_version_names_its_files_with_sha256_and_links(hub: HubEmulator) -> None:
    version = requests.get(f"{hub.url}/api/v1/model-versions/5").json()

    first, second = version["files"]
    assert (first["id"], first["name"], first["primary"]) == (11, "full.safetensors", False)
    assert first["hashes"]["SHA256"] == hashlib.sha256(FULL).hexdigest().upper()
    assert first["sizeKB"] * 1024 == len(FULL)
    assert first["downloadUrl"] == f"{hub.url}/api/download/models/5?fileId=11"
    assert (second["id"], second["primary"]) == (12, True)


def test_an_unknown_version_is_not_found(hub: HubEmulator) -> None:
    assert requests.get(f"{hub.url}/api/v1/model-versions/7").status_code == 404
    assert requests.get(f"{hub.url}/api/download/models/7").status_code == 404
    assert requests.get(f"{hub.url}/api/download/models/6?fileId=99").status_code == 404


@pytest.mark.parametrize(("query", "expected"), [("", PRUNED), ("?fileId=11", FULL), ("?fileId=12", PRUNED)])
def test_a_download_leads_to_the_file_that_was_asked_for(hub: HubEmulator, query: str, expected: bytes) -> None:
    answer = requests.get(f"{hub.url}/api/download/models/5{query}", headers=TOKEN)

    assert answer.content == expected
    assert [seen.status for seen in hub.requests] == [307, 200]
    assert [seen.role for seen in hub.requests] == ["civitai", "cdn"]


def test_the_presigned_url_refuses_a_second_authorization(hub: HubEmulator) -> None:
    link = requests.get(f"{hub.url}/api/download/models/5", headers=TOKEN, allow_redirects=False)

    with_token = requests.get(link.headers["Location"], headers=TOKEN)
    without = requests.get(link.headers["Location"])

    assert with_token.status_code == 400
    assert without.content == PRUNED
    assert hub.requests[1].authorization == "Bearer civitai-key"


def test_a_download_without_a_token_is_unauthorized(hub: HubEmulator) -> None:
    answer = requests.get(f"{hub.url}/api/download/models/5")

    assert answer.status_code == 401
    assert "requires you to be logged in" in answer.json()["message"]


def test_a_token_may_stand_in_the_query(hub: HubEmulator) -> None:
    assert requests.get(f"{hub.url}/api/download/models/5?token=civitai-key").content == PRUNED


def test_a_free_file_needs_no_token(hub: HubEmulator) -> None:
    assert requests.get(f"{hub.url}/api/download/models/6").content == PRUNED


def test_head_is_refused_though_the_token_is_right(hub: HubEmulator) -> None:
    assert requests.head(f"{hub.url}/api/download/models/5", headers=TOKEN).status_code == 401


def test_the_default_name_of_urllib_is_turned_away(hub: HubEmulator) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{hub.url}/api/v1/model-versions/5")

    assert caught.value.code == 403
    caught.value.close()


def test_the_login_page_comes_with_status_200() -> None:
    with HubEmulator(civitai=shelf(), faults=[Fault("login_page", where="resolve")]) as hub:
        answer = requests.get(f"{hub.url}/api/download/models/6")

    assert [seen.status for seen in hub.requests] == [302, 200]
    assert answer.headers["Content-Type"].startswith("text/html")
    assert b"Log in" in answer.content
