"""Every environment variable that comfyport reads, declared once.

`load(environ)` is called at the edges (`worker.py`, `serve/`, `cli/`); everything below receives plain values.
`python -m comfyport.settings` prints the README's table; a test keeps the two the same.
"""

import base64
import dataclasses
import os
import shlex
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, cast

from comfyport.errors import InvalidSetting


class Secret:
    """A value that shows only to those who ask for it by name."""

    def __init__(self, value: str) -> None:
        self._value = value

    def __repr__(self) -> str:
        return "Secret('********')"

    def __bool__(self) -> bool:
        return bool(self._value)

    def reveal(self) -> str:
        """The value itself: for a request's header, never for a log."""
        return self._value


def _boolean(text: str) -> bool:
    known = {
        "true": True,
        "1": True,
        "yes": True,
        "on": True,
        "false": False,
        "0": False,
        "no": False,
        "off": False,
    }
    if text.lower() not in known:
        raise ValueError("write true or false")
    return known[text.lower()]


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _protocols(text: str) -> tuple[str, ...]:
    words = _words(text.lower())
    if not words or not set(words) <= {"https", "ssh", "http", "file"}:
        raise ValueError("write some of https, ssh, http and file, separated by commas")
    return words


def _arguments(text: str) -> tuple[str, ...]:
    return tuple(shlex.split(text))


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise ValueError("write a port number between 1 and 65535")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError("write a whole number of at least 1")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        raise ValueError("write a number of seconds") from None
    if not 0 <= seconds < float("inf"):
        raise ValueError("write a number of seconds that is not negative")
    return seconds


def _url(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise ValueError("write an address that starts with http:// or https://")
    return text.rstrip("/")


def _bucket_url(text: str) -> str:
    if not text.startswith(("http://", "https://", "gs://", "az://")):
        raise ValueError("write an address that starts with https://, gs:// or az://")
    return text.rstrip("/")


def _link_seconds(text: str) -> int:
    seconds = _count(text)
    if seconds > 7 * 24 * 3600:
        raise ValueError("signed links last 604800 seconds (7 days) at most")
    return seconds


def _megabytes(text: str) -> float:
    try:
        megabytes = float(text)
    except ValueError:
        raise ValueError("write a number of megabytes") from None
    if not 0 < megabytes < float("inf"):
        raise ValueError("write a number of megabytes above 0")
    return megabytes


def _webhook_secret(text: str) -> Secret:
    try:
        key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except ValueError:
        key = b""
    if not text.startswith("whsec_") or not 24 <= len(key) <= 64:
        raise ValueError("write whsec_ and 24 to 64 random bytes in base64")
    return Secret(text)


def _choice(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in choices:
            raise ValueError(f"write one of {', '.join(choices)}")
        return text.lower()

    return parse


def _setting(name: str, default: Any, meaning: str, parse: Callable[[str], Any] = str, shown: str = "") -> Any:
    """One variable: its name, default, meaning for the README, and parser; `shown` stands for a computed default."""
    return dataclasses.field(
        default=default, metadata={"name": name, "meaning": meaning, "parse": parse, "shown": shown}
    )


class _FromEnvironment:
    """Reads the fields of a dataclass from the environment variables that they are declared with."""

    @classmethod
    def load(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """The settings as `environ` has them; an empty variable counts as unset. Raises InvalidSetting."""
        values: dict[str, Any] = {}
        for field in dataclasses.fields(cast("Any", cls)):
            name, text = field.metadata["name"], environ.get(field.metadata["name"], "").strip()
            if text:
                try:
                    values[field.name] = field.metadata["parse"](text)
                except ValueError as error:
                    shown = "********" if isinstance(field.default, Secret) else text
                    raise InvalidSetting(name, shown, str(error)) from None
        return cls(**values)


# RunPod answers 400 to a larger result and loses it (docs.runpod.io, "Operation reference").
RUNPOD_ANSWER_BYTES = 20_000_000

_PLATFORM_SECRETS = frozenset({"RUNPOD_AI_API_KEY", "RUNPOD_API_KEY", "MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET"})


@dataclass(frozen=True)
class Settings(_FromEnvironment):
    """What a worker, the downloader and the command line read."""

    download_on_startup: bool = _setting(
        "DOWNLOAD_MODELS_ON_STARTUP",
        True,
        "Fetch the models that the volume lacks when the container starts.",
        _boolean,
    )
    model_groups: tuple[str, ...] = _setting(
        "MODEL_GROUPS",
        (),
        "Groups of the lock to fetch, separated by commas. Unset: `default`, or all if no entry has groups.",
        _words,
    )
    lock: Path = _setting("COMFYPORT_LOCK", Path("models.lock.json"), "The lock that says what to fetch.", Path)
    nodes_lock: Path | None = _setting(
        "COMFYPORT_NODES_LOCK",
        None,
        "The lock of the custom nodes.",
        Path,
        shown="`nodes.lock.json` beside `COMFYPORT_LOCK`, if there is one",
    )
    sync_nodes_on_startup: bool = _setting(
        "SYNC_NODES_ON_STARTUP",
        True,
        "Bring the custom nodes that are not baked into the image to the volume before ComfyUI starts.",
        _boolean,
    )
    nodes_protocols: tuple[str, ...] = _setting(
        "COMFYPORT_NODES_PROTOCOLS",
        ("https", "ssh"),
        "What git may fetch custom nodes with: some of `https`, `ssh`, `http`, `file`, separated by commas.",
        _protocols,
    )
    nodes_constraints: Path | None = _setting(
        "COMFYPORT_CONSTRAINTS",
        None,
        "Constraints that the Python packages of custom nodes are held to; torch is held in any case.",
        Path,
        shown="`/opt/comfyport/constraints.txt`, if there is one",
    )
    comfy_registry: str = _setting(
        "COMFY_REGISTRY_ENDPOINT",
        "https://api.comfy.org",
        "ComfyUI's registry of custom nodes, or a mirror of it.",
        _url,
    )
    volume: Path | None = _setting(
        "COMFYPORT_VOLUME",
        None,
        "Where models are kept.",
        Path,
        shown="the first that exists of `/runpod-volume`, `/workspace`, `/cache`, else `/data`",
    )
    staging: Path | None = _setting(
        "COMFYPORT_STAGING",
        None,
        "Where downloads under way are kept, if not on the volume.",
        Path,
        shown="`.comfyport/parts` on the volume",
    )
    run_directory: Path | None = _setting(
        "COMFYPORT_RUN_DIR",
        None,
        "Where the notice board and ComfyUI's input, output and temporary files lie.",
        Path,
        shown="`/run/comfyport` if writable, else a folder below `$TMPDIR`",
    )
    device: Literal["gpu", "cpu"] = _setting(
        "COMFYPORT_DEVICE",
        "gpu",
        "`gpu` or `cpu`. With `gpu`, a start without one fails at once.",
        _choice("gpu", "cpu"),
    )
    startup_wait: Literal["needed", "all"] = _setting(
        "STARTUP_WAIT",
        "needed",
        "`needed`: a job waits for its own models only. `all`: no job is taken before every model is there.",
        _choice("needed", "all"),
    )
    startup_wait_seconds: float = _setting(
        "STARTUP_WAIT_SECONDS",
        300.0,
        "With `needed`: take no job while more seconds of download than this remain.",
        _seconds,
    )
    comfyui_directory: Path = _setting("COMFYUI_DIR", Path("/opt/ComfyUI"), "The folder of ComfyUI's `main.py`.", Path)
    comfyui_python: Path | None = _setting(
        "COMFYUI_PYTHON",
        None,
        "The Python that runs ComfyUI.",
        Path,
        shown="`.venv` or `venv` in `COMFYUI_DIR`, else the worker's own",
    )
    comfyui_arguments: tuple[str, ...] = _setting(
        "COMFYUI_ARGS", (), "More arguments for ComfyUI, for example `--lowvram`.", _arguments
    )
    comfyui_secrets: tuple[str, ...] = _setting(
        "COMFYUI_SECRETS",
        (),
        "Secret variables that ComfyUI, and so every custom node, may read, for example `HF_TOKEN`; the others are "
        "kept from it.",
        _words,
    )
    comfyui_port: int = _setting("COMFYUI_PORT", 8188, "The port of ComfyUI, on 127.0.0.1 only.", _port)
    comfyui_url: str | None = _setting(
        "COMFYUI_URL", None, "A ComfyUI that runs already: it is used and watched, none is launched.", _url
    )
    comfy_org_api_key: Secret = _setting(
        "COMFY_ORG_API_KEY",
        Secret(""),
        "Key for ComfyUI's API nodes; a job's `comfy_org_api_key` wins.",
        Secret,
    )
    job_timeout: float = _setting(
        "JOB_TIMEOUT", 1800.0, "Seconds that a job may take; a job's `timeout` wins.", _seconds
    )
    cancel_seconds: float = _setting(
        "CANCEL_SECONDS",
        20.0,
        "Seconds that ComfyUI has to let go of a cancelled job; then it is started again. More for models whose single "
        "steps take long.",
        _seconds,
    )
    warmup_workflow: Path | None = _setting(
        "WARMUP_WORKFLOW",
        None,
        "A workflow in API format that is run before the first job is taken, so that its models are loaded then.",
        Path,
    )
    refresh_worker: bool = _setting(
        "REFRESH_WORKER", False, "On RunPod: have the worker replaced by a fresh one after each job.", _boolean
    )
    input_files: int = _setting("INPUT_FILES", 64, "Files that a job may bring.", _count)
    input_file_mb: int = _setting("INPUT_FILE_MB", 500, "Megabytes that one of a job's files may have.", _count)
    input_mb: int = _setting("INPUT_MB", 1000, "Megabytes that a job's files may have together.", _count)
    input_megapixels: int = _setting(
        "INPUT_MEGAPIXELS", 150, "Megapixels that an input picture may have, all its frames together.", _count
    )
    input_seconds: float = _setting(
        "INPUT_SECONDS", 120.0, "Seconds that fetching one of a job's files from its URL may take.", _seconds
    )
    output_delivery: Literal["auto", "base64", "s3", "volume"] | None = _setting(
        "OUTPUT_DELIVERY",
        None,
        "How files are delivered for jobs that do not say: `auto`, `base64`, `s3` or `volume`.",
        _choice("auto", "base64", "s3", "volume"),
        shown="`s3` if `BUCKET_ENDPOINT_URL` is set, else `auto`",
    )
    answer_limit_mb: float | None = _setting(
        "ANSWER_LIMIT_MB",
        None,
        "Largest answer in MB; files that do not fit go to the bucket, else to the volume.",
        _megabytes,
        shown="20 on RunPod, else 100",
    )
    bucket_endpoint: str = _setting(
        "BUCKET_ENDPOINT_URL",
        "",
        "Where files are put: an S3 address with or without the bucket in it, `gs://BUCKET` or `az://ACCOUNT/CONTAINER`.",
        _bucket_url,
    )
    bucket_access_key_id: Secret = _setting("BUCKET_ACCESS_KEY_ID", Secret(""), "The bucket's access key id.", Secret)
    bucket_secret_access_key: Secret = _setting(
        "BUCKET_SECRET_ACCESS_KEY",
        Secret(""),
        "The bucket's secret key; of Google a service account's key as JSON, of Azure the account's key.",
        Secret,
    )
    bucket_name: str = _setting(
        "BUCKET_NAME",
        "",
        "The bucket, if the address does not name it.",
        shown="month and year, as `11-26`",
    )
    bucket_region: str = _setting(
        "BUCKET_REGION", "", "The bucket's region.", shown="the one in the address, else `us-east-1`"
    )
    bucket_prefix: str = _setting("BUCKET_PREFIX", "", "What the files' keys begin with, before the job's id.")
    bucket_public_url: str = _setting(
        "BUCKET_PUBLIC_URL", "", "Address below which the bucket's files are public: links are that, not signed.", _url
    )
    bucket_link_seconds: int = _setting(
        "BUCKET_LINK_SECONDS", 7 * 24 * 3600, "Seconds that signed links last, 7 days at most.", _link_seconds
    )
    allow_private_urls: bool = _setting(
        "ALLOW_PRIVATE_URLS",
        False,
        "Let addresses in jobs lead to private networks and loopback, and be http: for tests and closed networks.",
        _boolean,
    )
    host: str = _setting("HOST", "0.0.0.0", "The address that the HTTP door listens on.")  # noqa: S104 - in a container
    port: int = _setting("PORT", 8000, "The port that the HTTP door listens on.", _port)
    api_key: Secret = _setting(
        "COMFYPORT_API_KEY",
        Secret(""),
        "If set, HTTP requests need `Authorization: Bearer <key>`; `/ping`, `/health` and `/docs` stay open. "
        "`comfyport run` sends it.",
        Secret,
    )
    queue_size: int = _setting("QUEUE_SIZE", 100, "Jobs that may wait at the HTTP door.", _count)
    queue_bytes: int = _setting(
        "QUEUE_BYTES",
        1 << 30,
        "Bytes that waiting jobs and kept results may take in the HTTP door's memory; the oldest results go first.",
        _count,
    )
    result_seconds: float = _setting("RESULT_SECONDS", 1800.0, "Seconds that the HTTP door keeps a result.", _seconds)
    body_bytes: int = _setting("BODY_BYTES", 64 << 20, "Bytes that a request to the HTTP door may have.", _count)
    cors_origins: tuple[str, ...] = _setting(
        "CORS_ORIGINS",
        (),
        "Origins whose pages may call the HTTP door, separated by commas, or `*`. Unset: none.",
        _words,
    )
    stop_seconds: float = _setting(
        "STOP_SECONDS",
        4.0,
        "Seconds that a running job may go on after the worker was told to stop, on RunPod and over HTTP; both kill a "
        "worker 10 s after that by default, and its end takes 4.",
        _seconds,
    )
    webhook_secret: Secret = _setting(
        "WEBHOOK_SECRET",
        Secret(""),
        "`whsec_` and 24 to 64 bytes in base64: signs webhooks as Standard Webhooks has it. Unset: not signed.",
        _webhook_secret,
    )
    hf_token: Secret = _setting(
        "HF_TOKEN", Secret(""), "Token for gated and private Hugging Face repositories.", Secret
    )
    civitai_token: Secret = _setting("CIVITAI_TOKEN", Secret(""), "Token for models on Civitai.", Secret)
    civitai_endpoint: str = _setting("CIVITAI_ENDPOINT", "https://civitai.com", "Civitai, or a mirror of it.", _url)
    hf_home: Path | None = _setting(
        "HF_HOME", None, "A Hugging Face cache that is there already: what it holds is linked, not downloaded.", Path
    )
    connections: int = _setting(
        "DOWNLOAD_CONNECTIONS", 16, "Connections to one host that downloads may use at most.", _count
    )
    prefetch: str = _setting(
        "PREFETCH",
        "auto",
        "Read models into memory while ComfyUI starts: `auto` (those of MODEL_GROUPS), `off`, or groups.",
    )
    hf_endpoint: str = _setting(
        "HF_ENDPOINT", "https://huggingface.co", "The Hugging Face Hub or a mirror of it.", _url
    )
    runpod_job_url: str = _setting(
        "RUNPOD_WEBHOOK_GET_JOB",
        "",
        "Set by RunPod: where a serverless worker takes its jobs. Chooses the RunPod door.",
    )
    stream_progress: bool = _setting(
        "STREAM_PROGRESS",
        True,
        "On RunPod: a job's progress goes to `/stream` too, not only to `/status`.",
        _boolean,
    )
    log_level: str = _setting(
        "LOG_LEVEL",
        "info",
        "`debug`, `info`, `warning` or `error`.",
        _choice("debug", "info", "warning", "error"),
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

    @property
    def nodes_lock_file(self) -> Path | None:
        """The lock of the custom nodes: what was set, or the one beside the models' lock; None if there is none."""
        beside = self.lock.with_name("nodes.lock.json")
        return self.nodes_lock or (beside if beside.is_file() else None)

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
class ClientSettings(_FromEnvironment):
    """What `comfyport run` reads."""

    api_key: Secret = _setting(
        "COMFYPORT_API_KEY",
        Secret(""),
        "The key of the endpoint that `comfyport run` sends a job to.",
        Secret,
    )
    runpod_api_key: Secret = _setting(
        "RUNPOD_API_KEY", Secret(""), "For `comfyport run --endpoint runpod:ID`: RunPod's key.", Secret
    )
    runpod_base_url: str = _setting(
        "RUNPOD_ENDPOINT_BASE_URL",
        "https://api.runpod.ai/v2",
        "For `comfyport run --endpoint runpod:ID`: where RunPod's endpoints are.",
        _url,
    )


@dataclass(frozen=True)
class ModalSettings(_FromEnvironment):
    """What `modal_entry.py` reads when it is deployed."""

    app: str = _setting("COMFYPORT_MODAL_APP", "comfyport", "Name of the Modal app.")
    gpu: tuple[str, ...] = _setting(
        "COMFYPORT_MODAL_GPU", ("L40S",), "GPU types in order of preference, separated by commas.", _words
    )
    volume: str = _setting(
        "COMFYPORT_MODAL_VOLUME", "comfyport-models", "Name of the Modal Volume, made if it does not exist."
    )
    secret: str = _setting(
        "COMFYPORT_MODAL_SECRET",
        "comfyport",
        "Name of the Modal Secret; it must hold COMFYPORT_API_KEY and may hold HF_TOKEN and any other variable.",
    )
    timeout: int = _setting(
        "COMFYPORT_MODAL_TIMEOUT", 3600, "Seconds that a job or a download may run on Modal.", _count
    )
    scaledown_window: int = _setting(
        "COMFYPORT_MODAL_SCALEDOWN", 300, "Seconds that an idle GPU container is kept.", _count
    )

    def as_environ(self) -> dict[str, str]:
        """The variables that `load` would read these settings from."""
        values = {field.metadata["name"]: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: ",".join(value) if isinstance(value, tuple) else str(value) for name, value in values.items()}


def table() -> str:
    """The README's table of variables, as Markdown."""
    rows: dict[str, str] = {}
    for settings in (Settings, ClientSettings, ModalSettings):
        for field in dataclasses.fields(settings):
            name = field.metadata["name"]
            rows.setdefault(name, f"| `{name}` | {_shown(field)} | {field.metadata['meaning']} |")
    return "\n".join(("| variable | default | what it does |", "|---|---|---|", *rows.values()))


def _shown(field: "dataclasses.Field[Any]") -> str:
    if field.metadata["shown"]:
        return str(field.metadata["shown"])
    default = field.default
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, tuple):
        default = ",".join(default)
    return (
        ""
        if isinstance(default, Secret) or default in (None, "")
        else f"`{default:g}`"
        if isinstance(default, float)
        else f"`{default}`"
    )


if __name__ == "__main__":
    import sys

    sys.stdout.write(table() + "\n")
