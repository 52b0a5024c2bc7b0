"""All that the doctor looks at, in order; what cannot be looked at is a finding too, and stops no other."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial

from comfyport import supply, wiring
from comfyport.doctor import custom_nodes, disks, gpus, program, shelves, tokens
from comfyport.doctor.finding import Finding, Report
from comfyport.errors import ComfyportError
from comfyport.models import amendments, plan
from comfyport.nodes import lock as nodes_lock
from comfyport.nodes.places import Place
from comfyport.nodes.startup import constraints
from comfyport.settings import Settings
from comfyport.status import Board

Examine = Callable[[], Iterable[Finding]]


def examine(settings: Settings, environ: Mapping[str, str]) -> Report:
    """Looks at everything that a worker with these settings would stand on. Writes nothing that stays."""
    rooms: tuple[tuple[str, Examine], ...] = (
        (gpus.AREA, partial(_gpus, settings)),
        (disks.AREA, partial(_disks, settings)),
        (shelves.AREA, partial(_models, settings)),
        (custom_nodes.AREA, partial(_nodes, settings)),
        (tokens.AREA, partial(_tokens, settings, environ)),
        ("delivery", partial(_delivery, settings)),
        (program.AREA, partial(_comfyui, settings)),
    )
    return Report(tuple(finding for area, room in rooms for finding in _guarded(area, room)))


def _guarded(area: str, room: Examine) -> Iterator[Finding]:
    try:
        yield from room()
    except ComfyportError as error:
        yield Finding(area, error.code, "problem", error.message)
    except OSError as error:
        yield Finding(area, "disk", "problem", f"{error.filename or 'a file'} cannot be read: {error.strerror}")


def _gpus(settings: Settings) -> Iterator[Finding]:
    if settings.comfyui_url:
        yield Finding(gpus.AREA, "device", "note", "ComfyUI runs elsewhere (COMFYUI_URL)")
    else:
        yield from gpus.examine(wiring.installation(settings).python, device=settings.device)


def _disks(settings: Settings) -> Iterator[Finding]:
    try:
        wanted = _plan(settings).bytes_to_fetch
    except ComfyportError:
        # The lock has a finding of its own.
        wanted = 0
    yield from disks.examine(
        settings.volume_folder,
        lasting=settings.lasting_volume is not None,
        wanted=wanted,
        statvfs_lies=bool(settings.modal_task_id),
    )


def _models(settings: Settings) -> Iterable[Finding]:
    return shelves.examine(_plan(settings), startup_download=settings.download_on_startup)


def _nodes(settings: Settings) -> Iterable[Finding]:
    installation = wiring.installation(settings)
    file = settings.nodes_lock_file
    return custom_nodes.examine(
        nodes_lock.load(file).nodes if file else (),
        volume=Place.on_volume(settings.volume_folder),
        image=Place.in_image(installation.directory),
        python=installation.python,
        constraints=constraints(settings.constraints_file),
        may_sync=settings.sync_nodes_on_startup,
    )


def _tokens(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    entries = amendments.choose(settings.lock, supply.volume(settings), settings.model_groups)
    yield from tokens.examine(supply.access(settings, environ), entries)
    if settings.api_key.reveal():
        yield Finding(tokens.AREA, "COMFYPORT_API_KEY", "ok", "set; requests over HTTP need it")
    else:
        fix = "Set COMFYPORT_API_KEY where others can reach the port."
        yield Finding(tokens.AREA, "COMFYPORT_API_KEY", "note", "not set: whoever reaches the port may send jobs", fix)


def _delivery(settings: Settings) -> Iterator[Finding]:
    _, problem = wiring.bucket(settings)
    if problem:
        yield Finding("delivery", "bucket", "problem", problem, "See BUCKET_* in the README.")
    elif settings.bucket_endpoint:
        yield Finding("delivery", "bucket", "ok", "BUCKET_ENDPOINT_URL and its keys are set")


def _comfyui(settings: Settings) -> Iterator[Finding]:
    if not settings.comfyui_url:
        yield from program.examine(wiring.installation(settings))
        yield program.examine_port("127.0.0.1", settings.comfyui_port, setting="COMFYUI_PORT", path="/system_stats")
    yield program.examine_port(settings.host, settings.port, setting="PORT", path="/health")
    yield from program.examine_board(Board(settings.run_folder))


def _plan(settings: Settings) -> plan.Plan:
    volume = supply.volume(settings)
    return plan.make(
        amendments.choose(settings.lock, volume, settings.model_groups),
        state=volume.state,
        receipt=volume.receipt,
        managed=volume.managed(),
        lock=amendments.load(settings.lock, volume).models,
    )
