"""What RunPod is told before a worker takes its first job."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from emulators.runpod import RunPodEmulator
from tests import workflows
from tests.conftest import ROOT, Container

START = ROOT / "src" / "start.sh"


def test_a_worker_without_a_gpu_is_reported(platform: RunPodEmulator, start: Callable[..., Container]):
    container = start(START, **platform.environment(), COMFYPORT_DEVICE="gpu")

    assert container.end(within=60) == 1
    (ping,) = platform.pings
    assert (ping.healthy, ping.check) == (False, "worker_starts")
    assert "NoGPU" in ping.reason


def test_a_worker_whose_comfyui_does_not_start_is_reported_and_leaves_nothing_behind(
    platform: RunPodEmulator, start: Callable[..., Container]
):
    container = start(START, **platform.environment(), COMFYUI_ARGS="--no-such-flag")

    assert container.end(within=60) == 1
    (ping,) = platform.pings
    assert (ping.healthy, ping.check) == (False, "comfyui_and_models_are_ready")
    assert not any("/job-take/" in request.path for request in platform.requests)


def test_runpods_own_checks_are_run_and_a_failed_one_is_reported(
    platform: RunPodEmulator, start: Callable[..., Container]
):
    environ = platform.environment() | {"RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "", "RUNPOD_MIN_MEMORY_GB": "1000000"}

    container = start(START, **environ)

    assert container.end(within=60) == 1
    (ping,) = platform.pings
    assert (ping.healthy, ping.check) == (False, "machine_is_fit")
    assert "Insufficient memory" in ping.reason


def test_runpods_own_checks_are_run_beside_the_worker_not_in_it(
    platform: RunPodEmulator, start: Callable[..., Container], tmp_path: Path
):
    driver = tmp_path / "bin" / "nvidia-smi"
    driver.parent.mkdir()
    driver.write_text("#!/bin/sh\necho NVIDIA-SMI\n")
    driver.chmod(0o755)
    path = f"{Path(sys.executable).parent}:{driver.parent}:{os.environ['PATH']}"

    container = start(START, **platform.environment() | {"RUNPOD_SKIP_GPU_CHECK": "", "PATH": path})
    answer = platform.wait(platform.submit({"workflow": workflows.scaled()}), timeout=60)

    container.end(signal.SIGTERM)
    assert answer["status"] == "COMPLETED"
    # Ours in the worker; RunPod's, of the GPU, in the other process.
    assert "Running 3 fitness check(s)" in container.output
    assert "Running 1 fitness check(s)" in container.output
    assert "GPU fallback check passed" in container.output


def test_sigterm_while_comfyui_starts_ends_the_worker(platform: RunPodEmulator, start: Callable[..., Container]):
    container = start(START, **platform.environment(), COMFYUI_ARGS="--fault slow_start=60")
    container.read_until("Running 3 fitness check")

    assert container.end(signal.SIGTERM, within=10) == 0
    assert not platform.pings
