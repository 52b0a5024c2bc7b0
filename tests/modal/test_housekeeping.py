"""Every command of the housekeeping, as a person types it: what it tells, what it does, and what it leaves alone."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from emulators.hub import HubEmulator
from tests import workflows
from tests.modal.conftest import APP, SECRETS, VOLUME, Checkout, entry, weights

pytestmark = pytest.mark.timeout(300)

JOB = (
    "import json, modal, sys\n"
    f"run = modal.Cls.from_name({APP!r}, 'ComfyUI')().run\n"
    "print(json.dumps(run.remote(json.loads(sys.argv[1]))))"
)


def job(checkout: Checkout, checkpoint: str) -> dict[str, object]:
    """The answer of the deployed app to a workflow that loads `checkpoint`."""
    line = [sys.executable, "-c", JOB, json.dumps({"input": {"workflow": workflows.sampled(checkpoint, steps=1)}})]
    environ = os.environ | checkout.platform.environment()
    done = subprocess.run(line, env=environ, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return answer


def test_what_the_lock_names_is_downloaded_verified_weighed_and_mended(checkout: Checkout):
    file = checkout.models / "checkpoints/a.safetensors"
    downloaded = checkout.modal("run", "modal_entry.py::download_models")
    verified = checkout.modal("run", "modal_entry.py::verify_models", "--full")
    too_much = checkout.modal("run", "modal_entry.py::monitor_volume", "--most-gb", "0.000001")
    file.write_bytes(b"broken")
    damaged = checkout.modal("run", "modal_entry.py::verify_models")
    again = checkout.modal("run", "modal_entry.py::download_models")

    assert (downloaded.status, f"are on the Volume {VOLUME}" in downloaded.output) == (0, True), downloaded.output
    assert (verified.status, "every byte of them" in verified.output) == (0, True), verified.output
    assert (too_much.status, "more than 1e-06 GB" in too_much.output) == (1, True), too_much.output
    assert "models/checkpoints" in too_much.output
    assert (damaged.status, "download_models` brings" in damaged.output) == (1, True), damaged.output
    assert (again.status, file.read_bytes()) == (0, weights(0)), again.output


def test_a_model_that_is_added_is_used_by_the_app_after_a_rolling_restart(checkout: Checkout):
    before = job(checkout, "b.safetensors")

    added = checkout.modal(
        *("run", "scripts/add_model_hf.py", "--repo", "owner/name", "--file", "b.safetensors"),
        *("--directory", "checkpoints", "--restart"),
    )

    assert added.status == 0, added.output
    assert "Rollover completed" in added.output
    assert before["error_code"] == "workflow_rejected"
    assert job(checkout, "b.safetensors").keys() >= {"images"}
    (pinned,) = [model for model in checkout.lock() if model["name"] == "b.safetensors"]
    assert pinned["sha256"] == hashlib.sha256(weights(1)).hexdigest()
    assert len(pinned["sources"][0]["revision"]) == 40


def test_a_model_of_civitai_goes_where_its_kind_belongs_and_nothing_waits_for_an_answer(checkout: Checkout):
    added = checkout.modal("run", "scripts/add_model_url.py", "--url", "https://civitai.com/models/1?modelVersionId=7")

    assert added.status == 0, added.output
    assert f"modal app rollover {APP}" in added.output
    assert (checkout.models / "checkpoints/painted.safetensors").read_bytes() == weights(77)
    assert {"type": "civitai", "version_id": 7, "file_id": 1} in [model["sources"][0] for model in checkout.lock()]


def test_what_cannot_be_added_is_told_and_changes_nothing(checkout: Checkout, hub: HubEmulator, tmp_path: Path):
    there = f"{hub.url}/owner/name/resolve/main/e.safetensors"
    asked = [
        {"directory": "../../etc", "url": there},
        {"directory": "vae", "url": there, "name": "/etc/passwd"},
        {"directory": "vae", "url": f"{hub.url}/owner/name/resolve/main/absent.safetensors"},
        {"directory": "vae", "url": "https://huggingface.co/no/such/resolve/main/x.safetensors"},
        {"directory": "vae", "url": "ftp://example.com/x.safetensors"},
    ]
    (tmp_path / "models.json").write_text(json.dumps(asked))
    before = (checkout.folder / "models.lock.json").read_text()

    refused = checkout.modal("run", "scripts/batch_download.py", "--list", str(tmp_path / "models.json"))

    assert refused.status == 1, refused.output
    told = ("must not contain '..'", "must be a plain relative path", "absent.safetensors", "no/such", "ftp://example")
    assert [word for word in told if word not in refused.output] == [], refused.output
    assert (checkout.folder / "models.lock.json").read_text() == before


def test_a_list_is_brought_by_several_containers_side_by_side(checkout: Checkout, hub: HubEmulator, tmp_path: Path):
    addresses = [f"{hub.url}/owner/name/resolve/main/large-{number}.safetensors" for number in range(3)]
    lines = [f"diffusion_models {address} sub/{number}.safetensors" for number, address in enumerate(addresses)]
    (tmp_path / "models.txt").write_text("\n".join(["# large ones", *lines, f"vae {hub.url}/files/plain.safetensors"]))

    batch = checkout.modal(
        *("run", "scripts/batch_download.py", "--list", str(tmp_path / "models.txt")),
        COMFYPORT_MODAL_DOWNLOADER_MB="1",
        COMFYPORT_MODAL_DOWNLOADERS="3",
    )

    assert (batch.status, "by 3 containers" in batch.output) == (0, True), batch.output
    for number in range(3):
        file = checkout.models / f"diffusion_models/sub/{number}.safetensors"
        assert file.read_bytes() == weights(number, 1_200_000)
    pinned = {model["name"]: (model["size"], model["sha256"]) for model in checkout.lock()}
    assert {f"sub/{number}.safetensors" for number in range(3)} <= pinned.keys()
    assert pinned["plain.safetensors"] == (len(weights(88)), hashlib.sha256(weights(88)).hexdigest())


def test_a_model_is_deleted_once_that_was_agreed_to_and_nobody_brings_it_back(checkout: Checkout):
    checkout.modal("run", "modal_entry.py::download_models")
    file = checkout.models / "checkpoints/d.safetensors"

    asked = checkout.modal("run", "modal_entry.py::delete_model", "--name", "d.safetensors")
    kept = file.exists()
    deleted = checkout.modal("run", "modal_entry.py::delete_model", "--name", "d.safetensors", "--yes")
    again = checkout.modal("run", "modal_entry.py::download_models")

    assert (asked.status, kept) == (1, True), asked.output
    assert (deleted.status, "removed checkpoints/d.safetensors" in deleted.output) == (0, True), deleted.output
    assert (again.status, file.exists()) == (0, False), again.output
    assert "d.safetensors" not in {model["name"] for model in checkout.lock()}


def test_a_name_that_leads_off_the_volume_is_not_deleted(checkout: Checkout):
    asked = checkout.modal("run", "modal_entry.py::delete_model", "--name", "../.comfyport/receipts", "--yes")

    assert (asked.status, "must not contain '..'" in asked.output) == (1, True), asked.output


def test_what_nobody_needs_is_removed_once_that_was_agreed_to(checkout: Checkout):
    volume = checkout.platform.volume_dir(VOLUME)
    orphan, own = volume / "models/loras/old.safetensors", volume / "models/loras/own.safetensors"
    orphan.parent.mkdir(parents=True, exist_ok=True)
    orphan.write_bytes(b"old")
    own.write_bytes(b"own")
    receipt = volume / ".comfyport/receipts/loras/old.safetensors.json"
    receipt.parent.mkdir(parents=True, exist_ok=True)
    status = orphan.stat()
    noted = {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "sha256": "a" * 64, "source": "x", "at": 0.0}
    receipt.write_text(json.dumps(noted))

    asked = checkout.modal("run", "modal_entry.py::cleanup_models")
    kept = orphan.exists()
    cleaned = checkout.modal("run", "modal_entry.py::cleanup_models", "--yes")

    assert (asked.status, kept, "--yes does it" in asked.output) == (1, True, True), asked.output
    assert (cleaned.status, orphan.exists(), own.exists()) == (0, False, True), cleaned.output


def test_a_diagnosis_shows_no_secret_and_starts_neither_the_api_nor_a_gpu(checkout: Checkout):
    told = checkout.modal("run", "modal_entry.py::diagnose")

    for word in ("ComfyUI", "modal 1.6.4", "models, checkpoints", *SECRETS):
        assert word in told.output, told.output
    started = [function for run in checkout.platform.runs for function in run["functions"]]
    assert {function["name"] for function in started} == {"chore", "fetch"}
    assert all(not function["gpu"] and not function["web"] for function in started)


def test_custom_nodes_are_pinned_and_tried_before_they_are_in_the_lock(checkout: Checkout, tmp_path: Path):
    for command in (["init", "-q", "."], ["add", "."], ["commit", "-q", "-m", "a node"]):
        (tmp_path / "__init__.py").write_text("NODE_CLASS_MAPPINGS = {}\n")
        named = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
        subprocess.run(["git", *named, *command], cwd=tmp_path, check=True)

    good = checkout.modal("run", "scripts/add_custom_nodes.py", "--nodes", f"file://{tmp_path}")
    bad = checkout.modal("run", "scripts/add_custom_nodes.py", "--nodes", f"file://{tmp_path}/absent")

    assert (good.status, "modal deploy modal_entry.py" in good.output) == (0, True), good.output
    assert bad.status == 1, bad.output
    assert [node["name"] for node in checkout.lock("nodes.lock.json")] == [tmp_path.name]


def test_the_scripts_need_nothing_but_modal_where_they_are_typed(checkout: Checkout):
    program = (
        "import sys\n"
        f"sys.path[:0] = [{str(checkout.folder)!r} + '/scripts']\n"
        "import add_model_hf, add_model_url, batch_download, add_custom_nodes\n"
        "print([name for name in ('pydantic', 'fastapi', 'typer', 'requests') if name in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_an_entry_that_only_its_group_chooses_is_fetched_by_that(checkout: Checkout, hub: HubEmulator):
    lock = checkout.folder / "image-of-the-deployment/models.lock.json"
    plain = lock.read_text()
    rare = entry(hub, "f") | {"groups": ["rare"]}
    lock.write_text(json.dumps({"version": 1, "models": [entry(hub, "a"), entry(hub, "d"), rare]}))

    downloaded = checkout.modal("run", "modal_entry.py::download_models", "--groups", "rare")
    lock.write_text(plain)

    assert downloaded.status == 0, downloaded.output
    assert (checkout.models / "checkpoints/f.safetensors").read_bytes() == weights(5)


def test_two_downloads_at_once_end_with_good_files(checkout: Checkout):
    shutil.rmtree(checkout.platform.volume_dir(VOLUME), ignore_errors=True)
    checkout.platform.volume_dir(VOLUME)

    with ThreadPoolExecutor() as two:
        both = list(two.map(lambda _: checkout.modal("run", "modal_entry.py::download_models"), range(2)))
    verified = checkout.modal("run", "modal_entry.py::verify_models", "--full")

    assert [done.status for done in both] == [0, 0], both
    assert verified.status == 0, verified.output
