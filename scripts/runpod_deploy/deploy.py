"""Makes an account hold what is wanted: finds by name, makes what is missing, changes what differs, leaves the rest."""

from dataclasses import dataclass, field
from typing import Any, Literal

from scripts.runpod_deploy.api import Api
from scripts.runpod_deploy.differences import changes, describe
from scripts.runpod_deploy.failure import Failed
from scripts.runpod_deploy.wanted import Wanted, WantedVolume

JsonObject = dict[str, Any]

VOLUMES = "/v2/network-volumes"
TEMPLATES = "/v2/templates"
ENDPOINTS = "/v2/serverless"
# RunPod has put this behind the names of endpoints with FlashBoot.
FLASHBOOT_SUFFIX = " -fb"
# Stands in a dry run for the id of what would be made.
NEW = "(new)"


@dataclass(frozen=True)
class Step:
    """What was done, or in a dry run would be, with one thing; `details` in words."""

    kind: Literal["network volume", "template", "endpoint"]
    name: str
    action: Literal["created", "changed", "unchanged"]
    id: str | None
    details: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Outcome:
    """The steps, and the endpoint's addresses if it is there."""

    steps: tuple[Step, ...]
    urls: dict[str, str]

    @property
    def changed(self) -> bool:
        """Whether anything was made or changed."""
        return any(step.action != "unchanged" for step in self.steps)


class Deployment:
    """One run over an account; a dry run only reads."""

    def __init__(self, api: Api, wanted: Wanted, *, dry_run: bool = False) -> None:
        self.api = api
        self.wanted = wanted
        self.dry_run = dry_run

    def run(self) -> Outcome:
        """Volume, template, endpoint. Raises Failed; what was made before that stays, and the next run finds it."""
        steps = []
        volume_id = None
        if self.wanted.volume:
            steps.append(self._volume(self.wanted.volume))
            volume_id = steps[-1].id or NEW
        template = self._template()
        endpoint, urls = self._endpoint(template.id, volume_id)
        return Outcome((*steps, template, endpoint), urls)

    def _volume(self, wanted: WantedVolume) -> Step:
        actual = self._find(VOLUMES, "networkVolumes", wanted.name)
        if actual is None:
            told = [f"{wanted.size} GB in {wanted.data_center}"]
            return self._create("network volume", VOLUMES, "networkVolumes", wanted.body(), told)
        if actual["dataCenter"] != wanted.data_center:
            raise Failed(
                f"The network volume {wanted.name} is in {actual['dataCenter']}, not in {wanted.data_center}, "
                f"and cannot move. Use --data-center {actual['dataCenter']}, or another --volume name."
            )
        if actual["size"] > wanted.size:
            told = [f"has {actual['size']} GB; volumes cannot shrink to {wanted.size} GB"]
            return Step("network volume", wanted.name, "unchanged", actual["id"], told)
        return self._change("network volume", VOLUMES, {"size": wanted.size}, actual)

    def _template(self) -> Step:
        body = self.wanted.template()
        actual = self._find(TEMPLATES, "templates", self.wanted.name)
        if actual is None:
            return self._create("template", TEMPLATES, "templates", body, [self.wanted.image])
        if not actual["serverless"]:
            raise Failed(f"The template {self.wanted.name} is one for pods. Choose another --name.")
        del body["name"]
        return self._change("template", TEMPLATES, body, actual)

    def _endpoint(self, template_id: str | None, volume_id: str | None) -> tuple[Step, dict[str, str]]:
        body = self.wanted.endpoint(volume_id)
        actual = self._find(ENDPOINTS, "endpoints", self.wanted.name)
        if actual is None:
            told = [f"{', '.join(self.wanted.pools)}, {self.wanted.workers_min} to {self.wanted.workers_max} workers"]
            step = self._create("endpoint", ENDPOINTS, "endpoints", {**body, "templateId": template_id}, told)
            return step, self._urls(step.id)
        if actual.get("type", body["type"]) != body["type"]:
            raise Failed(
                f"The endpoint {self.wanted.name} is of the type {actual['type']}, and that cannot change. "
                "Choose another --name, or delete it in RunPod's console."
            )
        # An endpoint keeps the settings that its template had when it was made, so that they are compared here.
        for fixed in ("name", "type"):
            del body[fixed]
        step = self._change("endpoint", ENDPOINTS, {**self.wanted.container(), **body}, actual)
        return step, dict(actual.get("requestUrls", {}))

    def _create(self, kind: Any, path: str, plural: str, body: JsonObject, told: list[str]) -> Step:
        name = body["name"]
        if self.dry_run:
            return Step(kind, name, "created", None, told)
        made = self.api.create(path, body, lambda: self._find(path, plural, name))
        return Step(kind, name, "created", made["id"], told)

    def _change(self, kind: Any, path: str, wanted: JsonObject, actual: JsonObject) -> Step:
        name, body = actual["name"].removesuffix(FLASHBOOT_SUFFIX), changes(wanted, actual)
        if not body:
            return Step(kind, name, "unchanged", actual["id"])
        if not self.dry_run:
            self.api.patch(f"{path}/{actual['id']}", body)
        return Step(kind, name, "changed", actual["id"], describe(body, actual))

    def _find(self, path: str, plural: str, name: str) -> JsonObject | None:
        """The one thing of this name; None if there is none. Raises Failed if there are several."""
        found = [each for each in self.api.get(path)[plural] if each["name"] in (name, name + FLASHBOOT_SUFFIX)]
        if len(found) > 1:
            ids = ", ".join(each["id"] for each in found)
            raise Failed(f"Several things at {path} are called {name}: {ids}. Rename all but one in RunPod's console.")
        return found[0] if found else None

    def _urls(self, endpoint_id: str | None) -> dict[str, str]:
        if endpoint_id is None:
            return {}
        return dict(self.api.get(f"{ENDPOINTS}/{endpoint_id}").get("requestUrls", {}))
