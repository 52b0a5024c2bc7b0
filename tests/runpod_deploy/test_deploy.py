"""Deploying to RunPod: what is missing is made, what differs is changed, and a second run does nothing."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from tenacity import wait_none

from emulators.runpod.rest import RestEmulator
from emulators.runpod.rest.contract import problems_of_request
from scripts.runpod_deploy.api import Api
from scripts.runpod_deploy.deploy import Deployment, Outcome
from scripts.runpod_deploy.failure import Failed
from scripts.runpod_deploy.wanted import Wanted, WantedVolume

VOLUME = WantedVolume("comfyport", 100, "EU-RO-1")
WANTED = Wanted(
    name="comfyport",
    image="you/comfyport:1",
    pools=("ADA_24",),
    min_cuda="13.0",
    volume=VOLUME,
    env={"HF_TOKEN": "hf_a_secret"},
)


@pytest.fixture
def platform() -> Iterator[RestEmulator]:
    with RestEmulator() as emulator:
        yield emulator


def deploy(platform: RestEmulator, wanted: Wanted = WANTED, *, dry_run: bool = False) -> Outcome:
    api = Api(platform.api_key, endpoint=platform.url, secrets=wanted.env.values(), wait=wait_none())
    return Deployment(api, wanted, dry_run=dry_run).run()


def actions(outcome: Outcome) -> dict[str, str]:
    return {step.kind: step.action for step in outcome.steps}


def only(kept: dict[str, dict[str, Any]]) -> dict[str, Any]:
    (one,) = kept.values()
    return one


def test_an_empty_account_gets_all_three(platform: RestEmulator):
    outcome = deploy(platform)

    endpoint = only(platform.account.endpoints)
    assert set(actions(outcome).values()) == {"created"}
    assert platform.changes == ["POST /v2/network-volumes", "POST /v2/templates", "POST /v2/serverless"]
    assert endpoint["image"] == "you/comfyport:1"
    assert endpoint["networkVolumes"] == [only(platform.account.volumes)["id"]]
    assert endpoint["dataCenterIds"] == ["EU-RO-1"]
    assert outcome.urls["runSync"] == f"https://api.runpod.ai/v2/{endpoint['id']}/runsync"


def test_workers_may_take_an_hour_to_start_and_fill_their_disk(platform: RestEmulator):
    deploy(platform)

    assert only(platform.account.endpoints)["env"] == {
        "RUNPOD_INIT_TIMEOUT": "3600",
        "RUNPOD_MIN_DISK_PERCENT": "1",
        "RUNPOD_LOG_LEVEL": "INFO",
        "HF_TOKEN": "hf_a_secret",
    }


def test_a_load_balanced_endpoint_is_asked_where_the_door_listens(platform: RestEmulator):
    outcome = deploy(platform, replace(WANTED, balanced=True))

    endpoint = only(platform.account.endpoints)
    assert (endpoint["type"], endpoint["scaling"]["type"]) == ("LOAD_BALANCER", "REQUEST_COUNT")
    assert {name: endpoint["env"][name] for name in ("PORT", "PORT_HEALTH", "HEALTH_CHECK_PATH")} == {
        "PORT": "8000",
        "PORT_HEALTH": "8000",
        "HEALTH_CHECK_PATH": "/ping",
    }
    assert endpoint["ports"] == ["8000/http"]
    assert outcome.urls["health"].endswith("/ping")


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("suffix", [False, True])
def test_a_second_run_changes_nothing(platform: RestEmulator, balanced: bool, suffix: bool):
    platform.account.flashboot_suffix = suffix
    wanted = replace(WANTED, balanced=balanced, pools=("ADA_24", "ADA_48_PRO"), excluded_types=("NVIDIA L40",))
    deploy(platform, wanted)
    made = platform.changes

    outcome = deploy(platform, wanted)

    assert set(actions(outcome).values()) == {"unchanged"}
    assert not outcome.changed
    assert platform.changes == made


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("image", "you/comfyport:2", "image you/comfyport:1 -> you/comfyport:2"),
        ("disk", 30, "disk 20 -> 30"),
        ("workers_max", 5, "workers.max 3 -> 5"),
        ("idle_timeout", 60, "workers.idleTimeout 10 -> 60"),
        ("queue_delay", 8, "scaling.queueDelay 4 -> 8"),
        ("timeout", 60, "timeout 3600000 -> 60000"),
        ("flashboot", False, "flashboot FLASHBOOT -> OFF"),
        ("pools", ("ADA_48_PRO",), "gpu.pools ['ADA_24'] -> ['ADA_48_PRO']"),
        ("min_cuda", "12.8", "gpu.minCudaVersion 13.0 -> 12.8"),
        ("min_cuda", None, "gpu.minCudaVersion 13.0 -> "),
        ("env", {"HF_TOKEN": "hf_another"}, "env HF_TOKEN"),
    ],
)
def test_what_differs_is_changed_in_place_and_then_rests(platform: RestEmulator, field: str, value: Any, told: str):
    deploy(platform)
    before = only(platform.account.endpoints)["id"]
    wanted = replace(WANTED, **{field: value})

    changed, again = deploy(platform, wanted), deploy(platform, wanted)

    assert only(platform.account.endpoints)["id"] == before
    assert actions(changed)["endpoint"] == "changed"
    assert changed.steps[-1].details == [told]
    assert not again.changed


def test_a_set_of_cuda_versions_gives_way_to_the_floor(platform: RestEmulator):
    deploy(platform, replace(WANTED, min_cuda=None))
    only(platform.account.endpoints)["gpu"]["allowedCudaVersions"] = ["12.8"]

    deploy(platform)

    gpu = only(platform.account.endpoints)["gpu"]
    assert (gpu["allowedCudaVersions"], gpu["minCudaVersion"]) == ([], "13.0")


def test_variables_that_others_have_set_stay(platform: RestEmulator):
    deploy(platform)
    only(platform.account.endpoints)["env"]["MINE"] = "1"

    outcome = deploy(platform, replace(WANTED, env={"MODEL_GROUPS": "flux"}))

    env = only(platform.account.endpoints)["env"]
    assert (env["MINE"], env["MODEL_GROUPS"], env["HF_TOKEN"]) == ("1", "flux", "hf_a_secret")
    assert outcome.steps[-1].details == ["env MODEL_GROUPS"]


def test_ports_and_places_that_the_platform_has_added_stay(platform: RestEmulator):
    wanted = replace(WANTED, balanced=True, volume=None)
    deploy(platform, wanted)
    only(platform.account.endpoints).update(ports=["80/http", "8000/http"], dataCenterIds=["US-KS-2"])

    assert actions(deploy(platform, wanted))["endpoint"] == "unchanged"


def test_a_volume_grows_and_never_shrinks(platform: RestEmulator):
    deploy(platform)

    grown = deploy(platform, replace(WANTED, volume=replace(VOLUME, size=200)))
    smaller = deploy(platform, replace(WANTED, volume=replace(VOLUME, size=50)))

    assert actions(grown)["network volume"] == "changed"
    assert actions(smaller)["network volume"] == "unchanged"
    assert "cannot shrink" in smaller.steps[0].details[0]
    assert only(platform.account.volumes)["size"] == 200


def test_what_cannot_change_is_said_and_not_tried(platform: RestEmulator):
    deploy(platform)
    made = platform.changes

    with pytest.raises(Failed, match="is in EU-RO-1, not in US-KS-2, and cannot move"):
        deploy(platform, replace(WANTED, volume=replace(VOLUME, data_center="US-KS-2")))
    with pytest.raises(Failed, match="of the type QUEUE, and that cannot change"):
        deploy(platform, replace(WANTED, balanced=True, env={}))

    assert [change for change in platform.changes if change.startswith("POST")] == made


def test_two_of_a_name_are_not_chosen_between(platform: RestEmulator):
    for _ in range(2):
        platform.account.create_volume(VOLUME.body())

    with pytest.raises(Failed, match="vol0001, vol0002"):
        deploy(platform)


def test_a_dry_run_tells_the_same_and_asks_only_to_read(platform: RestEmulator):
    planned = deploy(platform, dry_run=True)
    deploy(platform)
    made = platform.changes
    unchanged = deploy(platform, dry_run=True)
    differing = deploy(platform, replace(WANTED, disk=30), dry_run=True)

    assert set(actions(planned).values()) == {"created"}
    assert not unchanged.changed
    assert actions(differing) == {"network volume": "unchanged", "template": "changed", "endpoint": "changed"}
    assert platform.changes == made


@pytest.mark.parametrize("fault", ["429", "500", "500_done", "cut_done"])
def test_what_passes_is_tried_again_and_nothing_is_made_twice(fault: str):
    with RestEmulator(faults=[fault] * 3) as platform:
        outcome = deploy(platform)
        counts = [len(kept) for kept in (platform.account.volumes, platform.account.templates)]

    assert set(actions(outcome).values()) == {"created"}
    assert [*counts, len(platform.account.endpoints)] == [1, 1, 1]


def test_a_change_that_broke_is_made_again(platform: RestEmulator):
    deploy(platform)
    platform.faults += ["500", "cut_done"]

    deploy(platform, replace(WANTED, disk=30))

    assert only(platform.account.endpoints)["disk"] == 30


def test_an_api_that_stays_broken_is_given_up_and_named():
    with RestEmulator(faults=["500_always"]) as platform, pytest.raises(Failed, match="6 times in a row.*status 500"):
        deploy(platform)


def test_a_key_that_is_not_accepted_is_told_at_once():
    with RestEmulator(faults=["401"]) as platform:
        with pytest.raises(Failed, match="does not accept RUNPOD_API_KEY"):
            deploy(platform)

        assert len(platform.requests) == 1


def test_no_secret_is_repeated_from_an_error_of_the_platform():
    with RestEmulator(faults=["echo"]) as platform, pytest.raises(Failed) as refused:
        deploy(platform, replace(WANTED, volume=None))

    assert "cannot do" in str(refused.value)
    assert "hf_a_secret" not in str(refused.value)
    assert "********" in str(refused.value)


def test_the_contract_refuses_what_the_document_does_not_know(platform: RestEmulator):
    api = Api(platform.api_key, endpoint=platform.url, wait=wait_none())
    body = {**WANTED.endpoint(None), "image": "a", "idleTimeout": 5}

    with pytest.raises(Failed, match="422.*idleTimeout"):
        api.create("/v2/serverless", body, lambda: None)
    with pytest.raises(Failed, match="422"):
        api.create("/v2/network-volumes", {"name": "a", "size": 5, "dataCenter": "b"}, lambda: None)


def test_every_request_fits_the_document(platform: RestEmulator):
    for wanted in (WANTED, replace(WANTED, disk=30), replace(WANTED, name="b", balanced=True, registry="r1")):
        deploy(platform, wanted)

    changes = [asked for asked in platform.requests if asked.method != "GET"]
    problems = [
        problems_of_request(asked.method, re.sub("/(tpl|ep|vol)[0-9]+", "/{id}", asked.path), asked.body)
        for asked in changes
    ]
    assert [str(asked).split("/")[0] for asked in changes] == [*["POST "] * 3, *["PATCH "] * 2, *["POST "] * 2]
    assert problems == [[]] * 7
