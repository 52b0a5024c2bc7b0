"""Every environment variable that comfyport reads, declared once.

`load(environ)` is called at the edges (`worker.py`, `serve/`, `cli/`); everything below receives plain values.
`python -m comfyport.settings` prints the README's table; a test keeps the two the same.
"""

import dataclasses
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from comfyport import environment
from comfyport.comfyui import arguments
from comfyport.environment import (
    FromEnvironment,
    Secret,
    as_boolean,
    as_bucket_url,
    as_count,
    as_link_seconds,
    as_megabytes,
    as_port,
    as_protocols,
    as_seconds,
    as_url,
    as_volume_version,
    as_webhook_secret,
    as_whole,
    as_words,
    one_of,
    setting,
)
from comfyport.errors import InvalidSetting

# RunPod answers 400 to a larger result and loses it (docs.runpod.io, "Operation reference").
RUNPOD_ANSWER_BYTES = 20_000_000

_PLATFORM_SECRETS = frozenset({"RUNPOD_AI_API_KEY", "RUNPOD_API_KEY", "MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET"})


@dataclass(frozen=True)
class Settings(FromEnvironment):
    """What a worker, the downloader and the command line read."""

    download_on_startup: bool = setting(
        "DOWNLOAD_MODELS_ON_STARTUP",
        True,
        "Fetch the models that the volume lacks when the container starts.",
        as_boolean,
    )
    model_groups: tuple[str, ...] = setting(
        "MODEL_GROUPS",
        (),
        "Groups of the lock to fetch, separated by commas. Unset: `default`, or all if no entry has groups.",
        as_words,
    )
    lock: Path = setting("COMFYPORT_LOCK", Path("models.lock.json"), "The lock that says what to fetch.", Path)
    nodes_lock: Path | None = setting(
        "COMFYPORT_NODES_LOCK",
        None,
        "The lock of the custom nodes.",
        Path,
        shown="`nodes.lock.json` beside `COMFYPORT_LOCK`, if there is one",
    )
    sync_nodes_on_startup: bool = setting(
        "SYNC_NODES_ON_STARTUP",
        True,
        "Bring the custom nodes that are not baked into the image to the volume before ComfyUI starts.",
        as_boolean,
    )
    nodes_protocols: tuple[str, ...] = setting(
        "COMFYPORT_NODES_PROTOCOLS",
        ("https", "ssh"),
        "What git may fetch custom nodes with: some of `https`, `ssh`, `http`, `file`, separated by commas.",
        as_protocols,
    )
    nodes_constraints: Path | None = setting(
        "COMFYPORT_CONSTRAINTS",
        None,
        "Constraints that the Python packages of custom nodes are held to; torch is held in any case.",
        Path,
        shown="`/opt/comfyport/constraints.txt`, if there is one",
    )
    comfy_registry: str = setting(
        "COMFY_REGISTRY_ENDPOINT",
        "https://api.comfy.org",
        "ComfyUI's registry of custom nodes, or a mirror of it.",
        as_url,
    )
    volume: Path | None = setting(
        "COMFYPORT_VOLUME",
        None,
        "Where models are kept.",
        Path,
        shown="the first that exists of `/runpod-volume`, `/workspace`, `/cache`, else `/data`",
    )
    staging: Path | None = setting(
        "COMFYPORT_STAGING",
        None,
        "Where downloads under way are kept, if not on the volume.",
        Path,
        shown="`.comfyport/parts` on the volume",
    )
    run_directory: Path | None = setting(
        "COMFYPORT_RUN_DIR",
        None,
        "Where the notice board and ComfyUI's input, output and temporary files lie.",
        Path,
        shown="`/run/comfyport` if writable, else a folder below `$TMPDIR`",
    )
    device: Literal["gpu", "cpu"] = setting(
        "COMFYPORT_DEVICE",
        "gpu",
        "`gpu` or `cpu`. With `gpu`, a start without one fails at once.",
        one_of("gpu", "cpu"),
    )
    startup_wait: Literal["needed", "all"] = setting(
        "STARTUP_WAIT",
        "needed",
        "`needed`: a job waits for its own models only. `all`: no job is taken before every model is there.",
        one_of("needed", "all"),
    )
    startup_wait_seconds: float = setting(
        "STARTUP_WAIT_SECONDS",
        300.0,
        "With `needed`: take no job while more seconds of download than this remain.",
        as_seconds,
    )
    comfyui_directory: Path = setting("COMFYUI_DIR", Path("/opt/ComfyUI"), "The folder of ComfyUI's `main.py`.", Path)
    comfyui_python: Path | None = setting(
        "COMFYUI_PYTHON",
        None,
        "The Python that runs ComfyUI.",
        Path,
        shown="`.venv` or `venv` in `COMFYUI_DIR`, else the worker's own",
    )
    comfyui_arguments: tuple[str, ...] = setting(
        "COMFYUI_ARGS", (), "More arguments for ComfyUI, for example `--lowvram`.", arguments.parsed
    )
    comfyui_secrets: tuple[str, ...] = setting(
        "COMFYUI_SECRETS",
        (),
        "Secret variables that ComfyUI, and so every custom node, may read, for example `HF_TOKEN`; the others are "
        "kept from it.",
        as_words,
    )
    comfyui_port: int = setting("COMFYUI_PORT", 8188, "The port of ComfyUI, on 127.0.0.1 only.", as_port)
    comfyui_url: str | None = setting(
        "COMFYUI_URL", None, "A ComfyUI that runs already: it is used and watched, none is launched.", as_url
    )
    comfy_org_api_key: Secret = setting(
        "COMFY_ORG_API_KEY",
        Secret(""),
        "Key for ComfyUI's API nodes; a job's `comfy_org_api_key` wins.",
        Secret,
    )
    job_timeout: float = setting(
        "JOB_TIMEOUT", 1800.0, "Seconds that a job may take; a job's `timeout` wins.", as_seconds
    )
    cancel_seconds: float = setting(
        "CANCEL_SECONDS",
        20.0,
        "Seconds that ComfyUI has to let go of a cancelled job; then it is started again. More for models whose single "
        "steps take long.",
        as_seconds,
    )
    recipes: Path | None = setting(
        "RECIPES_DIR",
        None,
        "The folder of the recipes; those in `recipes` on the volume are read too, and go before them.",
        Path,
        shown="`recipes` beside `COMFYPORT_LOCK`, if there is one",
    )
    warmup_workflow: Path | None = setting(
        "WARMUP_WORKFLOW",
        None,
        "A workflow in API format that is run before the first job is taken, so that its models are loaded then.",
        Path,
    )
    refresh_worker: bool = setting(
        "REFRESH_WORKER", False, "On RunPod: have the worker replaced by a fresh one after each job.", as_boolean
    )
    input_files: int = setting("INPUT_FILES", 64, "Files that a job may bring.", as_count)
    input_file_mb: int = setting("INPUT_FILE_MB", 500, "Megabytes that one of a job's files may have.", as_count)
    input_mb: int = setting("INPUT_MB", 1000, "Megabytes that a job's files may have together.", as_count)
    input_megapixels: int = setting(
        "INPUT_MEGAPIXELS", 150, "Megapixels that an input picture may have, all its frames together.", as_count
    )
    input_seconds: float = setting(
        "INPUT_SECONDS", 120.0, "Seconds that fetching one of a job's files from its URL may take.", as_seconds
    )
    output_delivery: Literal["auto", "base64", "s3", "volume"] | None = setting(
        "OUTPUT_DELIVERY",
        None,
        "How files are delivered for jobs that do not say: `auto`, `base64`, `s3` or `volume`.",
        one_of("auto", "base64", "s3", "volume"),
        shown="`s3` if `BUCKET_ENDPOINT_URL` is set, else `auto`",
    )
    answer_limit_mb: float | None = setting(
        "ANSWER_LIMIT_MB",
        None,
        "Largest answer in MB; files that do not fit go to the bucket, else to the volume.",
        as_megabytes,
        shown="20 on RunPod, else 100",
    )
    bucket_endpoint: str = setting(
        "BUCKET_ENDPOINT_URL",
        "",
        "Where files are put: an S3 address with or without the bucket in it, `gs://BUCKET` or `az://ACCOUNT/CONTAINER`.",
        as_bucket_url,
    )
    bucket_access_key_id: Secret = setting("BUCKET_ACCESS_KEY_ID", Secret(""), "The bucket's access key id.", Secret)
    bucket_secret_access_key: Secret = setting(
        "BUCKET_SECRET_ACCESS_KEY",
        Secret(""),
        "The bucket's secret key; of Google a service account's key as JSON, of Azure the account's key.",
        Secret,
    )
    bucket_name: str = setting(
        "BUCKET_NAME",
        "",
        "The bucket, if the address does not name it.",
        shown="month and year, as `11-26`",
    )
    bucket_region: str = setting(
        "BUCKET_REGION", "", "The bucket's region.", shown="the one in the address, else `us-east-1`"
    )
    bucket_prefix: str = setting("BUCKET_PREFIX", "", "What the files' keys begin with, before the job's id.")
    bucket_public_url: str = setting(
        "BUCKET_PUBLIC_URL",
        "",
        "Address below which the bucket's files are public: links are that, not signed.",
        as_url,
    )
    bucket_link_seconds: int = setting(
        "BUCKET_LINK_SECONDS", 7 * 24 * 3600, "Seconds that signed links last, 7 days at most.", as_link_seconds
    )
    allow_private_urls: bool = setting(
        "ALLOW_PRIVATE_URLS",
        False,
        "Let addresses in jobs lead to private networks and loopback, and be http: for tests and closed networks.",
        as_boolean,
    )
    host: str = setting("HOST", "0.0.0.0", "The address that the HTTP door listens on.")  # noqa: S104 - in a container
    port: int = setting("PORT", 8000, "The port that the HTTP door listens on.", as_port)
    api_key: Secret = setting(
        "COMFYPORT_API_KEY",
        Secret(""),
        "If set, HTTP requests need `Authorization: Bearer <key>`; `/ping`, `/health` and `/docs` stay open. "
        "`comfyport run` sends it.",
        Secret,
    )
    queue_size: int = setting("QUEUE_SIZE", 100, "Jobs that may wait at the HTTP door.", as_count)
    queue_bytes: int = setting(
        "QUEUE_BYTES",
        1 << 30,
        "Bytes that waiting jobs and kept results may take in the HTTP door's memory; the oldest results go first.",
        as_count,
    )
    result_seconds: float = setting("RESULT_SECONDS", 1800.0, "Seconds that the HTTP door keeps a result.", as_seconds)
    body_bytes: int = setting("BODY_BYTES", 64 << 20, "Bytes that a request to the HTTP door may have.", as_count)
    cors_origins: tuple[str, ...] = setting(
        "CORS_ORIGINS",
        (),
        "Origins whose pages may call the HTTP door, separated by commas, or `*`. Unset: none.",
        as_words,
    )
    status_page: bool = setting(
        "STATUS_PAGE",
        True,
        "Serve the status page at `/`, and `/jobs` and `/logs`, which show everybody's jobs to whoever has the key.",
        as_boolean,
    )
    stop_seconds: float = setting(
        "STOP_SECONDS",
        4.0,
        "Seconds that a running job may go on after the worker was told to stop, on RunPod and over HTTP; both kill a "
        "worker 10 s after that by default, and its end takes 4.",
        as_seconds,
    )
    webhook_secret: Secret = setting(
        "WEBHOOK_SECRET",
        Secret(""),
        "`whsec_` and 24 to 64 bytes in base64: signs webhooks as Standard Webhooks has it. Unset: not signed.",
        as_webhook_secret,
    )
    hf_token: Secret = setting("HF_TOKEN", Secret(""), "Token for gated and private Hugging Face repositories.", Secret)
    civitai_token: Secret = setting("CIVITAI_TOKEN", Secret(""), "Token for models on Civitai.", Secret)
    civitai_endpoint: str = setting("CIVITAI_ENDPOINT", "https://civitai.com", "Civitai, or a mirror of it.", as_url)
    hf_home: Path | None = setting(
        "HF_HOME", None, "A Hugging Face cache that is there already: what it holds is linked, not downloaded.", Path
    )
    connections: int = setting(
        "DOWNLOAD_CONNECTIONS", 16, "Connections to one host that downloads may use at most.", as_count
    )
    prefetch: str = setting(
        "PREFETCH",
        "auto",
        "Read models into memory while ComfyUI starts: `auto` (those of MODEL_GROUPS), `off`, or groups.",
    )
    hf_endpoint: str = setting(
        "HF_ENDPOINT", "https://huggingface.co", "The Hugging Face Hub or a mirror of it.", as_url
    )
    runpod_job_url: str = setting(
        "RUNPOD_WEBHOOK_GET_JOB",
        "",
        "Set by RunPod: where a serverless worker takes its jobs. Chooses the RunPod door.",
    )
    modal_task_id: str = setting(
        "MODAL_TASK_ID",
        "",
        "Set by Modal: in its containers the free space that a Volume tells is not believed, since it is made up.",
    )
    stream_progress: bool = setting(
        "STREAM_PROGRESS",
        True,
        "On RunPod: a job's progress goes to `/stream` too, not only to `/status`.",
        as_boolean,
    )
    log_level: str = setting(
        "LOG_LEVEL",
        "info",
        "`debug`, `info`, `warning` or `error`.",
        one_of("debug", "info", "warning", "error"),
    )

    @property
    def run_folder(self) -> Path:
        """The folder for the notice board and run-time files: what was set, or the first that can be written."""
        if self.run_directory:
            return self.run_directory
        if os.access("/run", os.W_OK):
            return Path("/run/comfyport")
        return Path(tempfile.gettempdir()) / f"comfyport-{os.getuid()}"

    @classmethod
    def secret_names(cls) -> frozenset[str]:
        """The variables that hold a secret, those of the platforms included."""
        ours = {field.metadata["name"] for field in dataclasses.fields(cls) if isinstance(field.default, Secret)}
        return frozenset(ours | _PLATFORM_SECRETS)

    def secrets_in(self, environ: Mapping[str, str]) -> tuple[str, ...]:
        """The values in `environ` that must not be shown to anybody: our secrets, and those that ComfyUI is given."""
        names = self.secret_names() | set(self.comfyui_secrets)
        return tuple(environ[name] for name in sorted(names) if environ.get(name))

    @property
    def nodes_lock_file(self) -> Path | None:
        """The lock of the custom nodes: what was set, or the one beside the models' lock; None if there is none."""
        beside = self.lock.with_name("nodes.lock.json")
        return self.nodes_lock or (beside if beside.is_file() else None)

    @property
    def recipes_folders(self) -> tuple[Path, ...]:
        """Where recipes lie: the folder that was set, or the one beside the models' lock, then the volume's."""
        beside, on_volume = self.lock.with_name("recipes"), self.volume_folder / "recipes"
        first = self.recipes or (beside if beside.is_dir() else None)
        return (*((first,) if first else ()), *((on_volume,) if on_volume.is_dir() else ()))

    @property
    def constraints_file(self) -> Path | None:
        """The constraints for the packages of custom nodes: what was set, or the image's; None if there are none."""
        of_image = Path("/opt/comfyport/constraints.txt")
        return self.nodes_constraints or (of_image if of_image.is_file() else None)

    @property
    def volume_folder(self) -> Path:
        """The volume: what was set, or the first mount point of the known platforms that exists."""
        if self.volume:
            return self.volume
        places = (Path("/runpod-volume"), Path("/workspace"), Path("/cache"))
        return next((place for place in places if place.is_dir()), Path("/data"))

    @property
    def answer_limit(self) -> int:
        """The largest answer in bytes: what was set, or what the platform takes.

        Raises InvalidSetting for more than that: such an answer would be refused after its job was done.
        """
        limit = int(self.answer_limit_mb * 1e6) if self.answer_limit_mb else None
        if not self.runpod_job_url:
            return limit or 100_000_000
        if limit and limit > RUNPOD_ANSWER_BYTES:
            raise InvalidSetting("ANSWER_LIMIT_MB", f"{self.answer_limit_mb:g}", "RunPod takes answers up to 20 MB")
        return limit or RUNPOD_ANSWER_BYTES

    @property
    def lasting_volume(self) -> Path | None:
        """The volume if it outlives the container: one that was set or mounted."""
        folder = self.volume_folder
        return folder if self.volume or folder != Path("/data") or os.path.ismount(folder) else None


@dataclass(frozen=True)
class ClientSettings(FromEnvironment):
    """What `comfyport run` reads."""

    api_key: Secret = setting(
        "COMFYPORT_API_KEY",
        Secret(""),
        "The key of the endpoint that `comfyport run` sends a job to.",
        Secret,
    )
    runpod_api_key: Secret = setting(
        "RUNPOD_API_KEY", Secret(""), "For `comfyport run --endpoint runpod:ID`: RunPod's key.", Secret
    )
    proxy_key: Secret = setting(
        "COMFYPORT_PROXY_KEY",
        Secret(""),
        "For `scripts/modal_page.py`: the token ID (`wk-…`) of a proxy auth token of Modal's.",
        Secret,
    )
    proxy_secret: Secret = setting(
        "COMFYPORT_PROXY_SECRET", Secret(""), "For `scripts/modal_page.py`: that token's secret (`ws-…`).", Secret
    )
    runpod_base_url: str = setting(
        "RUNPOD_ENDPOINT_BASE_URL",
        "https://api.runpod.ai/v2",
        "For `comfyport run --endpoint runpod:ID`: where RunPod's endpoints are.",
        as_url,
    )


@dataclass(frozen=True)
class ModalSettings(FromEnvironment):
    """What `modal_entry.py` reads when it is deployed."""

    app: str = setting("COMFYPORT_MODAL_APP", "comfyport", "Name of the Modal app.")
    gpu: tuple[str, ...] = setting(
        "COMFYPORT_MODAL_GPU", ("L40S",), "GPU types in order of preference, separated by commas.", as_words
    )
    volume: str = setting(
        "COMFYPORT_MODAL_VOLUME", "comfyport-models", "Name of the Modal Volume, made if it does not exist."
    )
    volume_version: int | None = setting(
        "COMFYPORT_MODAL_VOLUME_VERSION",
        None,
        "Version of the Volume's file system when it is made: `1` or `2`.",
        as_volume_version,
        shown="Modal's default",
    )
    secret: str = setting(
        "COMFYPORT_MODAL_SECRET",
        "comfyport",
        "Name of the Modal Secret; it must hold COMFYPORT_API_KEY, unless COMFYPORT_MODAL_PROXY_AUTH is set, and may "
        "hold HF_TOKEN and any other variable.",
    )
    downloaders: int = setting(
        "COMFYPORT_MODAL_DOWNLOADERS",
        4,
        "CPU containers that `download_models` may use at most; a v1 Volume takes commits of 5 at a time.",
        as_count,
    )
    downloader_mb: int = setting(
        "COMFYPORT_MODAL_DOWNLOADER_MB",
        20_000,
        "Megabytes missing for which `download_models` uses one container more.",
        as_count,
    )
    regions: tuple[str, ...] = setting(
        "COMFYPORT_MODAL_REGION",
        (),
        "Regions that containers may run in, for example `us-east,eu`; Modal asks a higher price for that.",
        as_words,
        shown="any",
    )
    timeout: int = setting(
        "COMFYPORT_MODAL_TIMEOUT", 3600, "Seconds that a job or a download may run on Modal.", as_count
    )
    start_timeout: int | None = setting(
        "COMFYPORT_MODAL_START_TIMEOUT",
        None,
        "Seconds that a container with ComfyUI may take to be ready, a download of missing models included.",
        as_count,
        shown="`COMFYPORT_MODAL_TIMEOUT`",
    )
    scaledown_window: int = setting(
        "COMFYPORT_MODAL_SCALEDOWN", 300, "Seconds that an idle GPU container is kept, 2 to 3600.", as_count
    )
    min_containers: int = setting(
        "COMFYPORT_MODAL_MIN_CONTAINERS",
        0,
        "GPU containers that run day and night, and are paid for so.",
        as_whole,
    )
    max_containers: int | None = setting(
        "COMFYPORT_MODAL_MAX_CONTAINERS",
        None,
        "GPU containers that may run at once; further jobs wait.",
        as_count,
        shown="as many as Modal allows",
    )
    buffer_containers: int = setting(
        "COMFYPORT_MODAL_BUFFER_CONTAINERS",
        0,
        "Idle GPU containers that are kept ready while others work.",
        as_whole,
    )
    snapshot: bool = setting(
        "COMFYPORT_MODAL_SNAPSHOT",
        False,
        "Start GPU containers from a memory snapshot of a ComfyUI that is up; see docs/modal-snapshots.md.",
        as_boolean,
    )
    ui: bool = setting(
        "COMFYPORT_MODAL_UI",
        False,
        "Deploy ComfyUI's own page too, behind Modal's proxy authentication.",
        as_boolean,
    )
    ui_gpu: tuple[str, ...] = setting(
        "COMFYPORT_MODAL_UI_GPU",
        (),
        "GPU types for ComfyUI's page, in order of preference.",
        as_words,
        shown="`COMFYPORT_MODAL_GPU`",
    )
    ui_scaledown_window: int = setting(
        "COMFYPORT_MODAL_UI_SCALEDOWN",
        300,
        "Seconds after which the container of ComfyUI's page ends once no page is open, 2 to 3600.",
        as_count,
    )
    model_groups: tuple[str, ...] = setting(
        "MODEL_GROUPS", (), "Groups of the lock that the containers on Modal fetch.", as_words
    )
    proxy_auth: bool = setting(
        "COMFYPORT_MODAL_PROXY_AUTH",
        False,
        "Let Modal guard the HTTP face with its proxy auth tokens (`Modal-Key`, `Modal-Secret`); the Secret then needs "
        "no COMFYPORT_API_KEY.",
        as_boolean,
    )

    @property
    def page_gpu(self) -> tuple[str, ...]:
        """The GPU types for ComfyUI's page: those that were set, or those of the jobs."""
        return self.ui_gpu or self.gpu

    def as_environ(self) -> dict[str, str]:
        """The variables that `load` would read these settings from; what is unset stays so."""
        values = {field.metadata["name"]: getattr(self, field.name) for field in dataclasses.fields(self)}
        texts = {name: ",".join(value) if isinstance(value, tuple) else str(value) for name, value in values.items()}
        return {name: text for name, text in texts.items() if values[name] is not None and text}


def table() -> str:
    """The README's table of variables, as Markdown."""
    return environment.table((Settings, ClientSettings, ModalSettings))


if __name__ == "__main__":
    import sys

    sys.stdout.write(table() + "\n")
