"""What the settings make of the parts that a worker is put together from."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from comfyport import supply
from comfyport.comfyui.client import Client
from comfyport.comfyui.launch import WORKER, Folders, Installation, Launch, command
from comfyport.comfyui.process import Attached, ComfyUI, Health, Supervised
from comfyport.comfyui.storage import LocalStorage, RemoteStorage, Storage
from comfyport.jobs.delivery.deliverer import Means
from comfyport.jobs.delivery.setup import account_set_up
from comfyport.jobs.delivery.store import Account
from comfyport.jobs.hints import Hints
from comfyport.jobs.staging import Limits
from comfyport.models import amendments, lock
from comfyport.models.volume import Volume
from comfyport.nodes import lock as nodes_lock
from comfyport.nodes.places import Place
from comfyport.nodes.startup import constraints, with_nodes
from comfyport.recipes import book
from comfyport.recipes.book import Recipes
from comfyport.settings import Settings
from comfyport.status import Board

logger = logging.getLogger(__name__)


def comfyui(
    settings: Settings,
    environ: Mapping[str, str],
    entries: Sequence[lock.Entry],
    volume: Volume,
    url: str,
    *,
    ready: Callable[[], Awaitable[bool]],
    notice: Callable[[Health], None],
    launch: Launch = WORKER,
) -> ComfyUI:
    """The ComfyUI to run, with the volume's models and the custom nodes of the lock, or the one that runs already.

    Raises ComfyUIMissing, or InvalidLock for the nodes' lock.
    """
    if settings.comfyui_url:
        return Attached(url, ready=ready, notice=notice)
    found = installation(settings)
    base = comfyui_folder(settings)
    folders = Folders(base, volume.models.absolute(), volume.custom_nodes.absolute(), kept=launch.kept)
    extra_paths = folders.prepare(
        baked_nodes=found.directory / "custom_nodes",
        model_directories=tuple(entry.directory for entry in entries),
    )
    file = settings.nodes_lock_file
    line, whole = with_nodes(
        command(found, folders, extra_paths, port=settings.comfyui_port, device=settings.device, launch=launch),
        _without_secrets(settings, environ, entries),
        nodes_lock.load(file).nodes if file else (),
        volume=Place.on_volume(volume.root.absolute()),
        image=Place.in_image(found.directory),
        python=found.python,
        constraints=constraints(settings.constraints_file),
        may_sync=settings.sync_nodes_on_startup,
    )
    return Supervised(line, url, environ=whole, ready=ready, notice=notice)


def installation(settings: Settings) -> Installation:
    """The ComfyUI that is launched. Raises ComfyUIMissing."""
    return Installation.find(
        settings.comfyui_directory, python=settings.comfyui_python, arguments=settings.comfyui_arguments
    )


def comfyui_folder(settings: Settings) -> Path:
    """The folder of ComfyUI's input, output and temporary files."""
    return (settings.run_folder / "comfyui").absolute()


def storage(settings: Settings, client: Client) -> Storage:
    """Where ComfyUI's files are read and written."""
    if settings.comfyui_url:
        return RemoteStorage(client, comfyui_folder(settings) / "temp")
    return LocalStorage(comfyui_folder(settings))


def input_limits(settings: Settings) -> Limits:
    """What the files of one job may be."""
    return Limits(
        files=settings.input_files,
        file_bytes=settings.input_file_mb * 10**6,
        total_bytes=settings.input_mb * 10**6,
        pixels=settings.input_megapixels * 10**6,
        fetch_seconds=settings.input_seconds,
        private_urls=settings.allow_private_urls,
    )


def recipes(settings: Settings) -> Recipes:
    """The recipes that come with the image, and those of the volume. Raises InvalidRecipe."""
    return book.load(settings.recipes_folders)


def hints(settings: Settings, board: Board) -> Hints:
    """What the lock says of a model that is missing; it is read when that is asked."""
    load = partial(amendments.load, settings.lock, supply.volume(settings))
    return Hints(load, settings.model_groups, board, downloads=settings.download_on_startup)


def bucket(settings: Settings) -> tuple[Account | None, str]:
    """The bucket of the settings, None if they name none; and what is wrong with what they say, if anything is."""
    return account_set_up(
        settings.bucket_endpoint,
        name=settings.bucket_name,
        region=settings.bucket_region,
        prefix=settings.bucket_prefix,
        access_key_id=settings.bucket_access_key_id.reveal(),
        secret_access_key=settings.bucket_secret_access_key.reveal(),
        public_url=settings.bucket_public_url,
        link_seconds=settings.bucket_link_seconds,
    )


def means_of_delivery(settings: Settings) -> Means:
    """The ways in which files can be handed over. A bucket that cannot be used is told in the log."""
    account, problem = bucket(settings)
    if problem:
        logger.error("%s", problem)
    return Means(
        answer_limit=settings.answer_limit,
        bucket=account,
        bucket_problem=problem,
        volume=settings.lasting_volume,
        default=settings.output_delivery or ("s3" if settings.bucket_endpoint else "auto"),
        private_urls=settings.allow_private_urls,
    )


def _without_secrets(settings: Settings, environ: Mapping[str, str], entries: Sequence[lock.Entry]) -> dict[str, str]:
    """The environment for ComfyUI: custom nodes are other people's programs."""
    named = {getattr(source, "auth", None) or "" for entry in entries for source in entry.sources}
    tokens = {name.removeprefix("env:") for name in named}
    kept_back = (Settings.secret_names() | tokens) - set(settings.comfyui_secrets)
    return {name: value for name, value in environ.items() if name not in kept_back}
