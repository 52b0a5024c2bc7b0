"""What a deployment costs: GPU prices from RunPod's catalogue, storage from its price list."""

from dataclasses import dataclass
from typing import Any

from scripts.runpod_deploy.failure import Failed
from scripts.runpod_deploy.wanted import Wanted

JsonObject = dict[str, Any]

HOURS_PER_MONTH = 730
# The API does not tell these: https://docs.runpod.io/serverless/pricing, as it stood on the date below.
STORAGE_PRICES_AT = "2026-08-20"
VOLUME_PER_GB_MONTH = 0.07
VOLUME_PER_GB_MONTH_BEYOND = 0.05
VOLUME_THRESHOLD_GB = 1000
DISK_PER_GB_MONTH = 0.10


@dataclass(frozen=True)
class Costs:
    """In USD: of one worker per hour (the cheapest and the dearest GPU that it may get), and per month of storage."""

    worker_hour: tuple[float, float] | None
    disk_hour: float
    volume_month: float
    workers_min: int
    workers_max: int
    idle_timeout: int

    def as_json(self) -> JsonObject:
        """The costs as `--json` prints them."""
        low, high = self.worker_hour or (None, None)
        worker = {"worker_hour_min": low, "worker_hour_max": high, "disk_hour": round(self.disk_hour, 6)}
        return {**worker, "volume_month": round(self.volume_month, 2), "storage_prices_at": STORAGE_PRICES_AT}

    def lines(self) -> list[str]:
        """The costs in words."""
        storage = f"(list price of {STORAGE_PRICES_AT})"
        told = [self._worker(), self._idle()]
        told.append(f"container disk: ${self.disk_hour:.4f} per hour and worker, while it runs {storage}")
        if self.volume_month:
            told.append(f"network volume: ${self.volume_month:.2f} per month, used or not {storage}")
        else:
            told.append("no network volume: every new worker downloads its models again, and pays for that time")
        return told

    def _worker(self) -> str:
        if self.worker_hour is None:
            return "GPU: RunPod's catalogue names no serverless price for this choice; see its console"
        low, high = self.worker_hour
        each = f"${low:.2f}" if low == high else f"${low:.2f} to ${high:.2f}"
        most = f"${high * self.workers_max:.2f} per hour if all {self.workers_max} work"
        return f"GPU: {each} per hour and worker, billed by the second from its start to its end; at most {most}"

    def _idle(self) -> str:
        if self.worker_hour is None:
            return f"idle: {self.workers_min} workers are always on"
        low, high = self.worker_hour
        if self.workers_min:
            month = (low * self.workers_min * HOURS_PER_MONTH, high * self.workers_min * HOURS_PER_MONTH)
            return f"idle: {self.workers_min} workers are always on, ${month[0]:.0f} to ${month[1]:.0f} per month"
        wait = high * self.idle_timeout / 3600
        return f"idle: no GPU is paid for; a worker waits {self.idle_timeout} s for the next job, up to ${wait:.4f}"


def estimate(wanted: Wanted, gpus: list[JsonObject]) -> Costs:
    """The costs, with the GPU types of `GET /v2/catalog/gpus`. Raises Failed for a pool or a type that is not there."""
    pools = {gpu["pool"] for gpu in gpus if gpu["pool"]}
    if unknown := [pool for pool in wanted.pools if pool not in pools]:
        raise Failed(f"There is no GPU pool {', '.join(unknown)}. Choose from: {', '.join(sorted(pools))}.", 2)
    in_pools = [gpu for gpu in gpus if gpu["pool"] in wanted.pools]
    if unknown := [each for each in wanted.excluded_types if each not in {gpu["id"] for gpu in in_pools}]:
        known = ", ".join(gpu["id"] for gpu in in_pools)
        raise Failed(f"{', '.join(unknown)} is in none of the chosen pools. They hold: {known}.", 2)
    left = [gpu for gpu in in_pools if gpu["id"] not in wanted.excluded_types]
    if not left:
        raise Failed("No GPU type is left: all of the chosen pools are excluded.", 2)
    prices = [gpu["price"]["serverless"] * wanted.gpu_count for gpu in left if "serverless" in gpu["price"]]
    return Costs(
        worker_hour=(min(prices), max(prices)) if prices else None,
        disk_hour=wanted.disk * DISK_PER_GB_MONTH / HOURS_PER_MONTH,
        volume_month=_volume_month(wanted.volume.size if wanted.volume else 0),
        workers_min=wanted.workers_min,
        workers_max=wanted.workers_max,
        idle_timeout=wanted.idle_timeout,
    )


def _volume_month(size: int) -> float:
    below = min(size, VOLUME_THRESHOLD_GB)
    return below * VOLUME_PER_GB_MONTH + (size - below) * VOLUME_PER_GB_MONTH_BEYOND
