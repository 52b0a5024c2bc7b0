"""The forms of `/docs`: what may be sent and what comes back. They describe; nothing is parsed with them.

The job is read by `jobs/request.py`, everything around it by `reading.py`; what these models say of a field is what
those do with it.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Header
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, Field

Key = Annotated[
    str, Header(alias="Idempotency-Key", description="The same key and body again give the same job again.")
]
Base64 = Annotated[str, Field(description="Base64, a data URI, or an https address.")]
WORKFLOW = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 512, "height": 512, "batch_size": 1, "color": 255}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "blue"}},
}


class InputImage(BaseModel):
    """A picture that the workflow reads by this name."""

    name: str = Field(examples=["in.png"])
    image: Base64


class InputFile(BaseModel):
    """Any file that the workflow reads by this name: one of `data` and `url`."""

    name: str = Field(examples=["clip.mp4"])
    data: Base64 | None = None
    url: str | None = Field(None, examples=["https://example.com/clip.mp4"])


class OutputWish(BaseModel):
    """How the results shall be handed over."""

    delivery: Literal["auto", "base64", "s3", "volume"] = "auto"
    include_temp: bool = Field(default=False, description="Temporary pictures (PreviewImage) belong to the results.")


class JobInput(BaseModel):
    """The job itself. It may also be this object as a JSON string."""

    workflow: dict[str, Any] | None = Field(
        None, description="ComfyUI's API format: 'Export (API)'.", examples=[WORKFLOW]
    )
    recipe: str | None = Field(
        None, description="The name of a recipe, in place of `workflow`, `images`, `files` and `set`; see `/recipes`."
    )
    parameters: dict[str, Any] = Field({}, description="What the recipe takes.")
    images: list[InputImage] = []
    files: list[InputFile] = []
    set: dict[str, Any] = Field(
        {}, description="Values to put into the workflow.", examples=[{"6.text": "a cat", "KSampler.seed": 7}]
    )
    output: OutputWish = OutputWish()
    previews: bool = Field(False, description="Send pictures of the work under way to `/stream`.")
    timeout: float | None = Field(None, description="Seconds; JOB_TIMEOUT holds otherwise.", examples=[600])
    comfy_org_api_key: str | None = Field(None, description="For ComfyUI's API nodes.")


class Policy(BaseModel):
    """RunPod's execution policy."""

    executionTimeout: int | None = Field(None, description="Milliseconds that the job may run.")  # noqa: N815 - RunPod's
    ttl: int | None = Field(None, description="Milliseconds that the job may live from now on, the queue included.")
    lowPriority: bool = Field(False, description="Taken, and without effect: no worker is added here.")  # noqa: N815


class Bucket(BaseModel):
    """RunPod's `s3Config`: where this job's results go."""

    endpointUrl: str  # noqa: N815 - RunPod's
    bucketName: str  # noqa: N815
    accessId: str  # noqa: N815
    accessSecret: str  # noqa: N815


class JobRequest(BaseModel):
    """What `/run` and `/runsync` take."""

    input: JobInput | str = Field(examples=[{"workflow": WORKFLOW}])
    webhook: str | None = Field(None, description="Called with the body of `/status` when the job has ended.")
    policy: Policy | None = None
    s3Config: Bucket | None = None  # noqa: N815 - RunPod's


class JobState(BaseModel):
    """A job and what became of it, as RunPod shows one."""

    id: str
    status: Literal["IN_QUEUE", "IN_PROGRESS", "COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"]
    delayTime: int | None = Field(None, description="Milliseconds in the queue.")  # noqa: N815 - RunPod's
    executionTime: int | None = Field(None, description="Milliseconds at work.")  # noqa: N815
    workerId: str | None = None  # noqa: N815
    retries: int | None = None
    expiresAt: str | None = Field(None, description="Until then the result is kept (ISO 8601, UTC).")  # noqa: N815
    output: Any = Field(
        None,
        description="Of a completed job its answer: `images` and more lists, each item with `filename`, `type`, "
        "`data`, `media_type`, `size`, `sha256`, and `timings`. Of a running one the latest progress. Of a failed "
        "one `error_code` and `details`.",
    )
    error: str | None = Field(None, description="What went wrong, in words.")


class Failure(BaseModel):
    """A request that was not served. `docs/errors.md` has every code and what to do about it."""

    error: str
    error_code: str = Field(examples=["invalid_job"])
    details: dict[str, Any]


class Pieces(BaseModel):
    """What a job has told since the last call, in the form of RunPod's client library."""

    status: str
    stream: list[dict[str, Any]] = Field(examples=[[{"output": {"type": "progress", "step": 3, "steps": 20}}]])


class RecipeShown(BaseModel):
    """A recipe: where it is served, the groups of models that it needs, and its forms as JSON Schema."""

    name: str
    title: str
    description: str
    routes: list[str]
    models: list[str]
    parameters: dict[str, Any]
    answer: dict[str, Any]


class RecipeList(BaseModel):
    """All recipes of this endpoint."""

    recipes: list[RecipeShown]


class Purged(BaseModel):
    """How many waiting jobs were cancelled."""

    removed: int
    status: Literal["completed"]


class JobSummary(BaseModel):
    """A job in the list of the latest: what `/status` shows, without the result."""

    id: str
    status: Literal["IN_QUEUE", "IN_PROGRESS", "COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"]
    queuedAt: str = Field(description="When it was sent (ISO 8601, UTC).")  # noqa: N815
    delayTime: int | None = Field(None, description="Milliseconds in the queue.")  # noqa: N815
    executionTime: int | None = Field(None, description="Milliseconds at work.")  # noqa: N815
    expiresAt: str | None = Field(None, description="Until then the result is kept.")  # noqa: N815
    progress: dict[str, Any] | None = Field(None, description="Of a running job: its latest event.")
    outputs: dict[str, int] = Field(description="How many images, videos and so on it made.")
    thumbnail: bool = Field(description="Whether `/jobs/{id}/thumbnail` has a picture.")
    error: str | None = None
    errorCode: str | None = None  # noqa: N815


class LatestJobs(BaseModel):
    """The latest jobs, newest first."""

    jobs: list[JobSummary]


class LogLine(BaseModel):
    """One line of the log; a number that is missing was dropped."""

    number: int
    text: str


class LogLines(BaseModel):
    """The end of the log, oldest line first."""

    lines: list[LogLine]


class Health(BaseModel):
    """Jobs and workers by state, as RunPod shows them, and the status board."""

    jobs: dict[str, int]
    workers: dict[str, int]
    status: dict[str, Any]


def body_of(model: type[BaseModel]) -> dict[str, Any]:
    """The request's body of a route that reads it itself; `describe` must be told of `model`."""
    form = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"required": True, "content": {"application/json": {"schema": form}}}


def refusals(**meanings: str) -> dict[int | str, dict[str, Any]]:
    """The answers to requests that are not served: `s404="…"` and so on."""
    return {int(name[1:]): {"model": Failure, "description": meaning} for name, meaning in meanings.items()}


def describe(app: FastAPI, bodies: Iterable[type[BaseModel]]) -> None:
    """Makes `/openapi.json` of `app` tell of the requests' bodies too, which its routes read themselves."""

    # FastAPI's documented way to extend the document.
    def openapi() -> dict[str, Any]:
        if not app.openapi_schema:
            document = get_openapi(
                title=app.title,
                version=app.version,
                summary=app.summary,
                description=app.description,
                routes=app.routes,
            )
            schemas = document["components"]["schemas"]
            for model in bodies:
                body = model.model_json_schema(ref_template="#/components/schemas/{model}")
                schemas |= body.pop("$defs", {})
                schemas[model.__name__] = body
            _without_fastapis_own_refusals(document)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _without_fastapis_own_refusals(document: dict[str, Any]) -> None:
    """A parameter that cannot be read is answered with 400 here, not with FastAPI's 422."""
    for name in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(name, None)
    for operations in document["paths"].values():
        for operation in operations.values():
            if "HTTPValidationError" in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
