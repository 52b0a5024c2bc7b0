"""What shall be there: a volume, a template and an endpoint, as the bodies that RunPod's API takes."""

from dataclasses import dataclass, field
from typing import Any, Literal

JsonObject = dict[str, Any]

DOOR_PORT = "8000"
# What every worker is given; an --env of the same name wins.
WORKER_ENVIRONMENT = {
    # A first start downloads; RunPod gives a worker up after 7 minutes unless it is told to wait, here for an hour.
    "RUNPOD_INIT_TIMEOUT": "3600",
    # Its SDK refuses to work with less than 10 % of the container disk free, though models lie on the volume.
    "RUNPOD_MIN_DISK_PERCENT": "1",
    # The SDK's own default logs every job and every result in full.
    "RUNPOD_LOG_LEVEL": "INFO",
}


@dataclass(frozen=True)
class WantedVolume:
    """A network volume: GB, and the data centre that it, and so every worker, is in."""

    name: str
    size: int
    data_center: str

    def body(self) -> JsonObject:
        """The body that makes it."""
        return {"name": self.name, "size": self.size, "dataCenter": self.data_center}


@dataclass(frozen=True)
class Wanted:
    """A deployment. Times in seconds, sizes in GB; `env` may hold secrets and is not shown."""

    name: str
    image: str
    pools: tuple[str, ...]
    balanced: bool = False
    excluded_types: tuple[str, ...] = ()
    gpu_count: int = 1
    min_cuda: str | None = None
    workers_min: int = 0
    workers_max: int = 3
    idle_timeout: int = 10
    queue_delay: float = 4
    request_count: int = 4
    timeout: int = 3600
    flashboot: bool = True
    disk: int = 20
    registry: str | None = None
    volume: WantedVolume | None = None
    env: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def kind(self) -> Literal["LOAD_BALANCER", "QUEUE"]:
        """How requests reach a worker, in RunPod's word."""
        return "LOAD_BALANCER" if self.balanced else "QUEUE"

    @property
    def environment(self) -> dict[str, str]:
        """The worker's whole environment."""
        if not self.balanced:
            return {**WORKER_ENVIRONMENT, **self.env}
        # The door answers the health check on its own port; RunPod's default for both is 80.
        port = self.env.get("PORT", DOOR_PORT)
        balanced = {"PORT": port, "PORT_HEALTH": port, "HEALTH_CHECK_PATH": "/ping"}
        return {**WORKER_ENVIRONMENT, **balanced, **self.env}

    def container(self) -> JsonObject:
        """What template and endpoint have in common."""
        ports = [f"{self.environment['PORT']}/http"] if self.balanced else []
        settings = {"image": self.image, "disk": self.disk, "env": self.environment, "ports": ports}
        return {**settings, **({"registry": self.registry} if self.registry else {})}

    def template(self) -> JsonObject:
        """The body that makes the template; SSH and Jupyter are not in the image."""
        switches = {"serverless": True, "startSsh": False, "startJupyter": False}
        return {"name": self.name, **self.container(), **switches}

    def endpoint(self, volume_id: str | None) -> JsonObject:
        """The body that makes the endpoint, but for what comes from the template."""
        gpu: JsonObject = {"pools": list(self.pools), "count": self.gpu_count}
        if self.excluded_types:
            gpu["excludedTypes"] = list(self.excluded_types)
        if self.min_cuda:
            gpu["minCudaVersion"] = self.min_cuda
        scaling: JsonObject = {"type": "QUEUE_DELAY", "queueDelay": self.queue_delay}
        if self.balanced:
            scaling = {"type": "REQUEST_COUNT", "requestCount": self.request_count}
        return {
            "name": self.name,
            "type": self.kind,
            "gpu": gpu,
            "workers": {"min": self.workers_min, "max": self.workers_max, "idleTimeout": self.idle_timeout},
            "scaling": scaling,
            "networkVolumes": [volume_id] if volume_id else [],
            "dataCenterIds": [self.volume.data_center] if self.volume else [],
            "timeout": self.timeout * 1000,
            "flashboot": "FLASHBOOT" if self.flashboot else "OFF",
        }
