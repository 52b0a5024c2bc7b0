"""An account's templates, endpoints and network volumes, and the rules for changing them. Pure: no network, no time."""

from dataclasses import dataclass, field
from typing import Any

JsonObject = dict[str, Any]

CONTAINER = ("image", "args", "disk", "env", "ports", "registry")


class Refused(Exception):
    """A request that the platform does not carry out: the status, and why."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


def gpu(type_id: str, pool: str | None, memory: int, price: float | None) -> JsonObject:
    """A GPU type of the catalogue; `price` in USD per hour as a serverless worker."""
    prices = {"secure": 0.5, "community": 0.4} | ({"serverless": price} if price is not None else {})
    names = {"id": type_id, "name": type_id, "pool": pool, "manufacturer": "NVIDIA", "memory": memory}
    return {**names, "secure": True, "community": True, "price": prices, "maxCount": {"secure": 8, "community": 8}}


# The prices are made up.
GPUS = (
    gpu("NVIDIA GeForce RTX 4090", "ADA_24", 24, 1.1),
    gpu("NVIDIA L40", "ADA_48_PRO", 48, 1.9),
    gpu("NVIDIA L40S", "ADA_48_PRO", 48, 1.9),
    gpu("NVIDIA RTX A5000", "AMPERE_24", 24, 0.7),
    gpu("NVIDIA GeForce GTX 1080", None, 8, None),
)


@dataclass
class Account:
    """What one account has, each by its id, oldest first."""

    volumes: dict[str, JsonObject] = field(default_factory=dict)
    templates: dict[str, JsonObject] = field(default_factory=dict)
    endpoints: dict[str, JsonObject] = field(default_factory=dict)
    flashboot_suffix: bool = False
    _numbers: int = 0

    def create_volume(self, body: JsonObject) -> JsonObject:
        """A network volume in a data centre."""
        return self._keep(self.volumes, "vol", {"type": "STANDARD", **body})

    def update_volume(self, volume_id: str, body: JsonObject) -> JsonObject:
        """Another name, or more room."""
        volume = _find(self.volumes, volume_id, "network volume")
        if body.get("size", volume["size"]) < volume["size"]:
            raise Refused(400, "network volume size cannot be reduced")
        volume |= body
        return volume

    def create_template(self, body: JsonObject) -> JsonObject:
        """A template, for endpoints if it says `serverless`."""
        if any(template["name"] == body["name"] for template in self.templates.values()):
            raise Refused(400, "template name must be unique")
        container = {"args": "", "disk": 20, "env": {}, "ports": [], "registry": None, "mounts": {}}
        switches = {"serverless": False, "public": False, "startSsh": True, "startJupyter": True}
        defaults = {**container, **switches, "category": "NVIDIA", "allowedCudaVersions": []}
        return self._keep(self.templates, "tpl", {**defaults, **body})

    def update_template(self, template_id: str, body: JsonObject) -> JsonObject:
        """Other settings; endpoints that were made from it keep theirs."""
        template = _find(self.templates, template_id, "template")
        template |= body
        return template

    def create_endpoint(self, body: JsonObject) -> JsonObject:
        """An endpoint, its container's settings from the body and, below that, from a template."""
        if ("gpu" in body) == ("cpu" in body):
            raise Refused(400, "exactly one of gpu and cpu is required")
        asked = {**body, **self._container(body)}
        asked.pop("templateId", None)
        self._check_endpoint(asked)
        workers = {"min": 0, "max": 3, "idleTimeout": 10, **asked.get("workers", {})}
        if _takes_no_idle_timeout(asked):
            del workers["idleTimeout"]
        lists: JsonObject = {"dataCenterIds": [], "networkVolumes": []}
        made = {**lists, "timeout": 300_000, "flashboot": "OFF", **asked, "workers": workers}
        made["gpu"] = {"count": 1, "allowedCudaVersions": [], "minCudaVersion": None, **asked["gpu"]}
        made["createdAt"] = "2026-06-01T12:00:00Z"
        kept = self._keep(self.endpoints, "ep", made)
        kept["requestUrls"] = _urls(kept)
        return self._named(kept)

    def update_endpoint(self, endpoint_id: str, body: JsonObject) -> JsonObject:
        """Other settings; what the body leaves out stays."""
        endpoint = _find(self.endpoints, endpoint_id, "endpoint")
        asked = {**body, **(self._container(body) if "templateId" in body else {})}
        asked.pop("templateId", None)
        merged = {**endpoint, **asked, "workers": {**endpoint["workers"], **body.get("workers", {})}}
        if "gpu" in body:
            # One selection: pools without exclusions clear them.
            before = {key: value for key, value in endpoint["gpu"].items() if key != "excludedTypes"}
            merged["gpu"] = {**(before if "pools" in body["gpu"] else endpoint["gpu"]), **body["gpu"]}
            merged["gpu"]["minCudaVersion"] = merged["gpu"]["minCudaVersion"] or None
        self._check_endpoint(merged if "idleTimeout" in body.get("workers", {}) else {**merged, "workers": {}})
        endpoint |= merged
        return self._named(endpoint)

    def _named(self, endpoint: JsonObject) -> JsonObject:
        suffix = " -fb"
        name = endpoint["name"].removesuffix(suffix)
        boosted = self.flashboot_suffix and endpoint["flashboot"] != "OFF"
        endpoint["name"] = name + suffix if boosted else name
        return endpoint

    def _container(self, body: JsonObject) -> JsonObject:
        defaults: JsonObject = {"args": "", "disk": 20, "env": {}, "ports": [], "registry": None}
        own = {key: body[key] for key in CONTAINER if key in body}
        if "templateId" not in body:
            return defaults | own
        template = _find(self.templates, body["templateId"], "template")
        if not template["serverless"]:
            raise Refused(422, "template is not a serverless template")
        given = {key: template[key] for key in CONTAINER}
        return defaults | given | own | {"env": {**template["env"], **body.get("env", {})}}

    def _check_endpoint(self, endpoint: JsonObject) -> None:
        chosen = endpoint["gpu"]
        in_pools = {each["id"] for each in GPUS if each["pool"] in chosen["pools"]}
        if unknown := set(chosen["pools"]) - {each["pool"] for each in GPUS}:
            raise Refused(400, f"unknown GPU pool {sorted(unknown)[0]}")
        if not set(chosen.get("excludedTypes", [])) <= in_pools:
            raise Refused(400, "excludedTypes must be GPU types of the pools")
        if in_pools <= set(chosen.get("excludedTypes", [])):
            raise Refused(400, "the selection leaves no GPU type")
        if chosen.get("allowedCudaVersions") and chosen.get("minCudaVersion"):
            raise Refused(400, "allowedCudaVersions and minCudaVersion are mutually exclusive")
        if _takes_no_idle_timeout(endpoint) and "idleTimeout" in endpoint.get("workers", {}):
            raise Refused(400, "idleTimeout does not apply to a queue that scales on requestCount")
        for volume_id in endpoint.get("networkVolumes", []):
            centre = _find(self.volumes, volume_id, "network volume")["dataCenter"]
            if endpoint.get("dataCenterIds") and centre not in endpoint["dataCenterIds"]:
                raise Refused(400, f"network volume {volume_id} is in {centre}")

    def _keep(self, kept: dict[str, JsonObject], prefix: str, content: JsonObject) -> JsonObject:
        self._numbers += 1
        resource = {"id": f"{prefix}{self._numbers:04}", **content}
        kept[resource["id"]] = resource
        return resource


def _find(kept: dict[str, JsonObject], resource_id: str, kind: str) -> JsonObject:
    if resource_id not in kept:
        raise Refused(404, f"{kind} not found")
    return kept[resource_id]


def _takes_no_idle_timeout(endpoint: JsonObject) -> bool:
    return bool(endpoint["type"] == "QUEUE" and endpoint["scaling"]["type"] == "REQUEST_COUNT")


def _urls(endpoint: JsonObject) -> JsonObject:
    if endpoint["type"] == "LOAD_BALANCER":
        base = f"https://{endpoint['id']}.api.runpod.ai"
        return {"base": base, "health": f"{base}/ping"}
    base = f"https://api.runpod.ai/v2/{endpoint['id']}"
    paths = {"run": "run", "runSync": "runsync", "purgeQueue": "purge-queue", "health": "health"}
    jobs = {name: f"{base}/{name}/{{job_id}}" for name in ("status", "stream", "cancel", "retry")}
    return {**{name: f"{base}/{path}" for name, path in paths.items()}, **jobs}
