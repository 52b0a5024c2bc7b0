"""What has to change so that something on RunPod becomes what it shall be. Pure."""

from collections.abc import Mapping
from typing import Any

JsonObject = dict[str, Any]


def changes(wanted: Mapping[str, Any], actual: Mapping[str, Any]) -> JsonObject:
    """The part of a PATCH's body that is needed. Fields that nobody asks for stay as they are, and so do variables."""
    body: JsonObject = {}
    for name, value in wanted.items():
        now = actual.get(name)
        if name == "env":
            # A PATCH replaces the whole environment.
            merged = {**(now or {}), **value}
            if merged != (now or {}):
                body[name] = merged
        elif name == "gpu":
            if gpu := _gpu_changes(value, now or {}):
                body[name] = gpu
        elif name == "workers":
            if set(value.items()) - set((now or {}).items()):
                body[name] = value
        elif name == "ports":
            if not set(value) <= set(now or ()):
                body[name] = sorted({*(now or ()), *value})
        elif name in ("networkVolumes", "dataCenterIds"):
            # No data centre of ours: the platform's choice stands.
            if sorted(value) != sorted(now or ()) and (value or name == "networkVolumes"):
                body[name] = value
        elif value != now:
            body[name] = value
    return body


def _gpu_changes(wanted: JsonObject, now: JsonObject) -> JsonObject:
    """The whole selection if anything of it changes: pools without exclusions would clear them."""
    floor = wanted.get("minCudaVersion")
    # A floor and a set exclude each other, and setting the one does not clear the other.
    cleared = bool(floor and now.get("allowedCudaVersions"))
    same = (
        sorted(wanted["pools"]) == sorted(now.get("pools", ()))
        and sorted(wanted.get("excludedTypes", ())) == sorted(now.get("excludedTypes") or ())
        and wanted["count"] == now.get("count", 1)
        and floor == now.get("minCudaVersion")
        and not cleared
    )
    if same:
        return {}
    return {**wanted, "minCudaVersion": floor or "", **({"allowedCudaVersions": []} if cleared else {})}


def describe(body: JsonObject, actual: Mapping[str, Any]) -> list[str]:
    """A change in words, field by field: `disk 20 -> 30`. Of variables only the names."""
    told = []
    for name, value in body.items():
        now = actual.get(name)
        if name == "env":
            touched = sorted(key for key in value if value[key] != (now or {}).get(key))
            told.append(f"env {', '.join(touched)}")
        elif isinstance(value, dict):
            before = now or {}
            told += [f"{name}.{key} {before.get(key)} -> {new}" for key, new in value.items() if new != before.get(key)]
        else:
            told.append(f"{name} {now} -> {value}")
    return told
