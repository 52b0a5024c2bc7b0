"""Every error that a user can see, as one small tree.

    ComfyportError
        UsageError              what was asked for cannot be right: exit status 2
            InvalidSetting, InvalidLock, InvalidSnapshot, InvalidRecipe, UnknownGroup, UnknownNode, NotLocked,
            UnknownModel, ModelListed, UnusableReference, UnusableImport
        ModelError              a model could not be brought to the volume
            VolumeUnusable, DiskFull, SourceFailed, SourceChanged, WrongSize, WrongDigest, WrongFormat,
            ArchiveRefused, ModelNotReady, ModelNotFound, ModelRefused
        NodeError               a custom node could not be brought; the others, and ComfyUI, go on
            NodeFetchFailed, NodeFolderTaken, NodeRequirements
        ComfyUIError            the program that we run
            ComfyUIMissing, NoGPU, PortInUse, ComfyUIDied, ComfyUIUnreachable, ComfyUIRefused, SnapshotFailed
        JobError                one job; the worker goes on
            InvalidJob, InputFailed, WorkflowRejected, ExecutionFailed, JobTimedOut,
            JobCancelled, JobLost, OutputFailed, NoOutputs, DeliveryUnavailable, DeliveryFailed,
            AnswerTooLarge, AnswerRefused, QueueFull, JobUnknown, PolicyExceeded, WorkerStopped,
            ResultDropped, NotRetryable, PictureMissing, InvalidParameters, RecipeUnknown, RecipeFailed,
            OutputMissing
        LockNotSaved            a lock could not be written, or was changed meanwhile
        EndpointFailed, RemoteJobFailed     what `comfyport run` met
        RequestError            an HTTP request that is not served
            Unauthorized, BodyTooLarge, IdempotencyKeyReused, RouteUnknown, MethodNotAllowed, NotOffered

Each class has a stable `code`; its message says what happened and what to do; `details` holds the facts
behind the message as data. Only the doors (`serve/`, `cli/`) turn errors into text, JSON and exit status.
"""

from collections.abc import Sequence
from typing import Any, ClassVar


class ComfyportError(Exception):
    """Root of all errors that comfyport raises on purpose."""

    code: ClassVar[str] = "error"
    exit_status: ClassVar[int] = 1

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details

    def as_answer(self) -> dict[str, Any]:
        """The error as a job's answer: `error`, `error_code` and `details`."""
        return {"error": self.message, "error_code": self.code, "details": self.details}


class UsageError(ComfyportError):
    """What was asked for cannot be right, whatever the state of the world."""

    code = "usage"
    exit_status = 2


class InvalidSetting(UsageError):
    """An environment variable has a value that cannot be used."""

    code = "invalid_setting"

    def __init__(self, name: str, value: str, reason: str) -> None:
        super().__init__(f"{name} is {value!r}: {reason}.", name=name)


class InvalidLock(UsageError):
    """A models.lock.json or nodes.lock.json that cannot be read or breaks a rule of the format."""

    code = "invalid_lock"

    def __init__(self, file: str, problems: list[str]) -> None:
        listed = "\n".join(f"  - {problem}" for problem in problems)
        super().__init__(f"{file} is not a valid lock. Correct this and start again:\n{listed}", file=file)
        self.details["problems"] = problems


class InvalidRecipe(UsageError):
    """A recipe.toml, or the workflow.json beside it, that cannot be used."""

    code = "invalid_recipe"

    def __init__(self, problems: list[str]) -> None:
        listed = "\n".join(f"  - {problem}" for problem in problems)
        super().__init__(f"The recipes cannot be used. Correct this and start again:\n{listed}", problems=problems)


class UnknownGroup(UsageError):
    """MODEL_GROUPS asks for a group that no entry of the lock has."""

    code = "unknown_group"

    def __init__(self, group: str, known: list[str]) -> None:
        choice = ", ".join(known) or "none: no entry has groups"
        super().__init__(
            f"No entry of the lock is in the group {group!r}. Set MODEL_GROUPS to some of: {choice}.",
            group=group,
            known=known,
        )


class UnknownModel(UsageError):
    """No entry of the lock has this path or name, or several have this name."""

    code = "unknown_model"

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name} names no entry of the lock: {reason}.", name=name)


class ModelListed(UsageError):
    """The lock has an entry at the path of a new one, and they are not known to be the same file."""

    code = "model_listed"

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            f"The lock has an entry for {path} already, {reason}. Choose another --name or --directory, "
            "or take the entry out first with `comfyport models remove`.",
            path=path,
        )


class LockNotSaved(ComfyportError):
    """A lock cannot be written, or another program changed it since it was read. It is as it was."""

    code = "lock_not_saved"

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(f"{file} was not saved: {reason}.", file=file)


class ModelError(ComfyportError):
    """A model could not be brought to the volume."""

    code = "model_error"


class VolumeUnusable(ModelError):
    """The volume is missing, read-only or not a folder."""

    code = "volume_unusable"

    def __init__(self, volume: str, reason: str) -> None:
        super().__init__(
            f"The volume {volume} cannot be used: {reason}. "
            "Mount a writable volume there, or set COMFYPORT_VOLUME to a folder that is.",
            volume=volume,
        )


class DiskFull(ModelError):
    """There is not enough room for what has to be written."""

    code = "disk_full"

    def __init__(self, volume: str, *, needed: int, free: int) -> None:
        super().__init__(
            f"The models need {needed / 1e9:.2f} GB on {volume} and {free / 1e9:.2f} GB are free. "
            "Enlarge the volume, delete what is not needed, or choose fewer models with MODEL_GROUPS.",
            volume=volume,
            needed=needed,
            free=free,
        )


class SourceFailed(ModelError):
    """A source did not give the file."""

    code = "source_failed"

    def __init__(self, path: str, reason: str, *, source: str) -> None:
        super().__init__(f"{path} could not be fetched from {source}: {reason}", path=path, source=source)


class WrongSize(ModelError):
    """The source has a file of another size than the lock."""

    code = "wrong_size"

    def __init__(self, path: str, *, expected: int, actual: int, source: str) -> None:
        super().__init__(
            f"{path} has {actual} bytes at {source}, the lock says {expected}. "
            "The source has changed: correct the entry's size and sha256, or its revision.",
            path=path,
            expected=expected,
            actual=actual,
            source=source,
        )


class WrongDigest(ModelError):
    """The bytes that arrived are not the bytes that the lock names."""

    code = "wrong_digest"

    def __init__(self, path: str, *, expected: str, actual: str, source: str) -> None:
        super().__init__(
            f"{path} arrived from {source} with the sha256 {actual}, the lock says {expected}. "
            "Nothing was kept. If the source has changed on purpose, correct the entry in the lock.",
            path=path,
            expected=expected,
            actual=actual,
            source=source,
        )


class SourceChanged(ModelError):
    """The file at the source became another one while it was being fetched."""

    code = "source_changed"

    def __init__(self, path: str, *, source: str) -> None:
        super().__init__(
            f"{path} changed at {source} while it was being fetched. "
            "Start again; pin its revision in the lock if it goes on changing.",
            path=path,
            source=source,
        )


class WrongFormat(ModelError):
    """A file without a sha256 in the lock is not what its name says."""

    code = "wrong_format"

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            f"{path} is not what its name says: {reason}. Nothing was kept. Check the entry's sources.", path=path
        )


class ArchiveRefused(ModelError):
    """An archive is damaged, or would write where it may not."""

    code = "archive_refused"

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"The archive {path} was not unpacked: {reason}.", path=path)


class NotLocked(UsageError):
    """`--locked` was asked for, and entries of the lock leave something open."""

    code = "not_locked"

    def __init__(self, file: str, entries: list[str]) -> None:
        super().__init__(
            f"{file} leaves something open, which --locked refuses: {'; '.join(entries)}. "
            "`comfyport models lock` fills in what the sites tell: size, sha256, and the commit of each source.",
            entries=entries,
        )


class UnusableReference(UsageError):
    """What should name a model's file names none that could be looked up."""

    code = "unusable_reference"

    def __init__(self, reference: str, reason: str) -> None:
        super().__init__(f"{reference} names no file that can be pinned: {reason}.", reference=reference)


class UnusableImport(UsageError):
    """A file that models should be imported from cannot be read, or is of no kind that names models."""

    code = "unusable_import"

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(
            f"{file} cannot be imported: {reason}. Name a workflow (JSON, or a PNG with one in it), a model-list.json, "
            "a comfy.lock.yaml, a snapshot of comfy-pack, or a text with an address in each line.",
            file=file,
        )


class ModelNotFound(ModelError):
    """A repository, a revision, a version or a file is not where it was looked for."""

    code = "model_not_found"

    def __init__(self, what: str, reason: str, *, source: str) -> None:
        super().__init__(f"{what} is not at {source}: {reason}.", what=what, source=source)


class ModelRefused(ModelError):
    """A site does not tell us of a model, or does not give it to anybody."""

    code = "model_refused"

    def __init__(self, what: str, reason: str, *, source: str) -> None:
        super().__init__(f"{what} is not given by {source}: {reason}.", what=what, source=source)


class ModelNotReady(ModelError):
    """A job needs a model whose download has failed."""

    code = "model_not_ready"

    def __init__(self, failures: dict[str, str]) -> None:
        listed = "; ".join(f"{path}: {reason}" for path, reason in failures.items())
        super().__init__(f"The workflow needs models that could not be downloaded: {listed}", models=failures)


class InvalidSnapshot(UsageError):
    """A file that should be a snapshot of ComfyUI-Manager is not one."""

    code = "invalid_snapshot"

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(
            f"{file} is not a snapshot of ComfyUI-Manager: {reason}. Save one in its menu, and name that file.",
            file=file,
        )


class UnknownNode(UsageError):
    """No custom node has this name, neither in the lock or on the volume nor, when one is added, where it should be."""

    code = "unknown_node"


class NodeError(ComfyportError):
    """A custom node could not be brought."""

    code = "node_error"


class NodeFetchFailed(NodeError):
    """The source did not give a custom node as it is pinned."""

    code = "node_fetch_failed"

    def __init__(self, name: str, reason: str, *, source: str) -> None:
        super().__init__(f"{name} could not be fetched from {source}: {reason}", node=name, source=source)


class NodeFolderTaken(NodeError):
    """Where a custom node belongs stands a folder that is not comfyport's, or the image has another version."""

    code = "node_folder_taken"

    def __init__(self, name: str, folder: str, reason: str) -> None:
        super().__init__(f"{name} is not put in place: {folder} {reason}.", node=name, folder=folder)


class NodeRequirements(NodeError):
    """The Python packages that a custom node asks for cannot be had beside those of the image or of other nodes."""

    code = "node_requirements"

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"The Python packages of {name} could not be installed: {reason}", node=name)


class ComfyUIError(ComfyportError):
    """The ComfyUI that we run, or were told to use, is not there or not well."""

    code = "comfyui_error"


class ComfyUIMissing(ComfyUIError):
    """COMFYUI_DIR holds no ComfyUI."""

    code = "comfyui_missing"

    def __init__(self, directory: str) -> None:
        super().__init__(
            f"There is no ComfyUI in {directory} (no main.py). "
            "Set COMFYUI_DIR to a folder that holds one, or COMFYUI_URL to a ComfyUI that runs already.",
            directory=directory,
        )


class NoGPU(ComfyUIError):
    """A GPU is asked for and none can be used."""

    code = "no_gpu"

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"No usable NVIDIA GPU: {reason}. Start the container with a GPU (docker run --gpus all), "
            "or set COMFYPORT_DEVICE=cpu."
        )


class PortInUse(ComfyUIError):
    """Another program listens where we want to."""

    code = "port_in_use"

    def __init__(self, host: str, port: int, *, setting: str) -> None:
        super().__init__(
            f"Port {port} on {host} is taken by another program. Stop that program, or set {setting} to a free port.",
            host=host,
            port=port,
        )


class ComfyUIDied(ComfyUIError):
    """The ComfyUI process ended while it was needed."""

    code = "comfyui_died"

    def __init__(self, reason: str, *, log: list[str]) -> None:
        tail = "".join(f"\n  | {line}" for line in log)
        super().__init__(f"ComfyUI ended: {reason}. Its last lines:{tail or ' none'}", reason=reason, log=log)


class SnapshotFailed(ComfyUIError):
    """ComfyUI could not be started without its GPU, or not be given it afterwards: a memory snapshot needs both."""

    code = "snapshot_failed"

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"ComfyUI cannot be started from a memory snapshot: {reason}. "
            "Leave out the custom node that this names, or set COMFYPORT_MODAL_SNAPSHOT=false, and deploy again."
        )


class ComfyUIUnreachable(ComfyUIError):
    """ComfyUI does not answer."""

    code = "comfyui_unreachable"

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(
            f"ComfyUI server ({url.removeprefix('http://')}) not reachable: {reason}. "
            "If COMFYUI_URL is set, check that a ComfyUI runs there; otherwise see the worker's log.",
            url=url,
        )


class ComfyUIRefused(ComfyUIError):
    """ComfyUI answered a request of ours with an error that is not the workflow's fault."""

    code = "comfyui_refused"

    def __init__(self, request: str, *, status: int, body: str) -> None:
        super().__init__(
            f"ComfyUI answered {status} to {request}: {body[:500]}",
            request=request,
            status=status,
            body=body[:4000],
        )


class JobError(ComfyportError):
    """One job went wrong; the worker goes on with the next."""

    code = "job_error"


class InvalidJob(JobError):
    """The job is not of the form that the handler takes."""

    code = "invalid_job"


class InputFailed(JobError):
    """An input file of the job cannot be read or handed to ComfyUI."""

    code = "input_failed"

    def __init__(self, problems: list[str]) -> None:
        super().__init__("Failed to upload one or more input images")
        self.details = {"problems": problems}


class WorkflowRejected(JobError):
    """The workflow cannot run, as we see before it is queued, or as ComfyUI's validation does."""

    code = "workflow_rejected"

    def __init__(self, message: str, *, node_errors: Any, raw: Any) -> None:
        super().__init__(message, node_errors=node_errors, raw=raw)


class ExecutionFailed(JobError):
    """A node raised an error while the workflow ran."""

    code = "execution_failed"

    def __init__(self, *, node_type: str, node_id: str, message: str, kind: str, traceback: list[str]) -> None:
        super().__init__(
            f"Workflow execution error: Node Type: {node_type}, Node ID: {node_id}, Message: {message.strip()}",
            node_type=node_type,
            node_id=node_id,
            exception_type=kind,
            traceback=traceback,
        )


class JobTimedOut(JobError):
    """The job ran longer than it may."""

    code = "job_timed_out"

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"The job was stopped after {seconds:g} s. "
            "Set `timeout` in the job's input, or JOB_TIMEOUT for all jobs, to give it longer.",
            seconds=seconds,
        )


class JobCancelled(JobError):
    """The job was cancelled, or interrupted in ComfyUI."""

    code = "job_cancelled"


class JobLost(JobError):
    """ComfyUI no longer knows the prompt that it had accepted."""

    code = "job_lost"

    def __init__(self, prompt_id: str) -> None:
        super().__init__(
            f"ComfyUI forgot the prompt {prompt_id}: it was restarted or its queue was cleared. Send the job again.",
            prompt_id=prompt_id,
        )


class OutputFailed(JobError):
    """A result that ComfyUI reports cannot be read."""

    code = "output_failed"

    def __init__(self, filename: str, reason: str) -> None:
        super().__init__(f"ComfyUI reports the output {filename}, but it cannot be read: {reason}", filename=filename)


class NoOutputs(JobError):
    """The workflow ran and no node put anything out."""

    code = "no_outputs"

    def __init__(self, prompt_id: str, left_out: Sequence[str] = ()) -> None:
        super().__init__("Job processing failed")
        self.details = {
            "problems": [f"No outputs found in history for prompt {prompt_id}.", *left_out],
            "hint": "The workflow needs an output node that runs, for example SaveImage.",
        }


class DeliveryUnavailable(JobError):
    """The job wants its files where this worker cannot bring them."""

    code = "delivery_unavailable"


class DeliveryFailed(JobError):
    """A result could not be brought to the bucket or the volume."""

    code = "delivery_failed"

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"The output {name} could not be delivered: {reason}.", name=name, reason=reason)


class AnswerTooLarge(JobError):
    """The results make an answer that the platform would lose."""

    code = "answer_too_large"

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(
            f"The answer has {size / 1e6:.1f} MB and may have {limit / 1e6:.1f} MB. Set BUCKET_ENDPOINT_URL and its "
            "credentials, send `s3Config` with the job, or mount a volume; ANSWER_LIMIT_MB sets the limit.",
            size=size,
            limit=limit,
        )


class AnswerRefused(JobError):
    """RunPod does not take an answer: larger than its limit, or for reasons of its own (`status`, if it was asked)."""

    code = "answer_refused"

    def __init__(self, size: int, status: int | None, *, limit: int) -> None:
        reason = f"RunPod refused it with HTTP {status}" if status else f"RunPod takes {limit} bytes at most"
        super().__init__(
            f"The job is done, but its answer of {size} bytes could not be sent: {reason}. "
            "Ask for fewer or smaller outputs, or have them delivered to S3.",
            size=size,
            limit=limit,
            status=status,
        )


class QueueFull(JobError):
    """As many jobs wait as may wait, or they are as large as they may be together."""

    code = "queue_full"

    def __init__(self, waiting: int, *, retry_after: int, setting: str = "QUEUE_SIZE") -> None:
        super().__init__(
            f"{waiting} jobs are waiting already. Send the job again in about {retry_after} s, or raise {setting}.",
            waiting=waiting,
            retry_after=retry_after,
        )


class JobUnknown(JobError):
    """No job has this id."""

    code = "job_unknown"

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"There is no job {job_id[:100]}. Results are kept for a limited time; see RESULT_SECONDS.",
            id=job_id[:100],
        )


class PolicyExceeded(JobError):
    """A job lived or ran longer than the `policy` that came with it allows."""

    code = "policy_exceeded"

    def __init__(self, policy: str, *, seconds: float) -> None:
        super().__init__(
            f"{policy} exceeded: the job was ended after {seconds:g} s, as its policy asks.",
            policy=policy,
            seconds=seconds,
        )


class WorkerStopped(JobError):
    """The worker was stopped, or cannot go on, and the job with it."""

    code = "worker_stopped"

    def __init__(self, when: str) -> None:
        super().__init__(f"The worker was stopped {when}. Send the job again.")


class ResultDropped(JobError):
    """A job's result was given up early, to make room for newer ones."""

    code = "result_dropped"

    def __init__(self, job_id: str, status: str) -> None:
        super().__init__(
            f"The job {job_id} ended as {status}, but its result was dropped to make room for newer ones. "
            "Fetch results sooner, let them be delivered to a bucket, or raise QUEUE_BYTES.",
            id=job_id,
            status=status,
        )


class NotRetryable(JobError):
    """A job was asked to run again that neither failed nor timed out."""

    code = "not_retryable"

    def __init__(self, job_id: str, status: str) -> None:
        super().__init__(
            f"The job {job_id} is {status}. Only one that is FAILED or TIMED_OUT can run again.",
            id=job_id,
            status=status,
        )


class PictureMissing(JobError):
    """A job whose result has no picture that could be shown small."""

    code = "picture_missing"

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"The job {job_id} has no picture in its answer that can be shown small. Fetch its result with `/status`.",
            id=job_id,
        )


class InvalidParameters(JobError):
    """A recipe was asked for with parameters that it does not take."""

    code = "invalid_parameters"

    def __init__(self, recipe: str, problems: list[tuple[str, str]]) -> None:
        listed = "\n".join(f"• {where or 'the whole'}: {what}" for where, what in problems)
        super().__init__(f"The recipe {recipe} does not take these parameters:\n{listed}", recipe=recipe)
        self.details["problems"] = [{"parameter": where, "problem": what} for where, what in problems]


class RecipeUnknown(JobError):
    """There is no recipe of this name."""

    code = "recipe_unknown"

    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(
            f"There is no recipe {name[:100]!r}. There is: {', '.join(known)[:1000] or 'none; see RECIPES_DIR'}.",
            recipe=name[:100],
            known=known,
        )


class RecipeFailed(JobError):
    """A recipe ran its workflow several times, and each failed, for different reasons."""

    code = "recipe_failed"

    def __init__(self, recipe: str, failures: list[dict[str, Any]]) -> None:
        super().__init__(
            f"The recipe {recipe} ran {len(failures)} times and failed each time; the first: {failures[0]['error']}",
            recipe=recipe,
            failures=failures,
        )


class OutputMissing(JobError):
    """The workflow of a recipe ran, and the node that its answer is made of put out no file."""

    code = "output_missing"

    def __init__(self, recipe: str, node_id: str, reasons: Sequence[str] = ()) -> None:
        reason = f": {'; '.join(reasons)[:1000]}" if reasons else ", so its answer would be empty."
        super().__init__(f"The node {node_id} of the recipe {recipe} put out no file{reason}", recipe=recipe)
        self.details["node_id"] = node_id


class EndpointFailed(ComfyportError):
    """The endpoint that `comfyport run` sends a job to does not answer as one."""

    code = "endpoint_failed"

    def __init__(self, endpoint: str, reason: str) -> None:
        super().__init__(f"The endpoint {endpoint} failed: {reason}.", endpoint=endpoint)


class RemoteJobFailed(ComfyportError):
    """The endpoint answered that the job failed."""

    code = "remote_job_failed"

    def __init__(self, message: str, job_id: str, *, code: str | None, details: Any) -> None:
        super().__init__(f"The job {job_id} failed{f' ({code})' if code else ''}: {message}", id=job_id)
        self.details |= {"error_code": code, "details": details}


class RequestError(ComfyportError):
    """An HTTP request that is not served, whatever job it brings."""

    code = "request_error"


class Unauthorized(RequestError):
    """An HTTP request without the right key."""

    code = "unauthorized"

    def __init__(self) -> None:
        super().__init__("This needs the header `Authorization: Bearer <COMFYPORT_API_KEY>`.")


class BodyTooLarge(RequestError):
    """A request's body is larger than this door takes."""

    code = "body_too_large"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"The request's body is larger than {limit} bytes. Send large inputs as URLs, or raise BODY_BYTES.",
            limit=limit,
        )


class IdempotencyKeyReused(RequestError):
    """An Idempotency-Key came back with another body."""

    code = "idempotency_key_reused"

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"This Idempotency-Key belongs to the job {job_id}, whose body was another. Use a new key for a new job.",
            id=job_id,
        )


class RouteUnknown(RequestError):
    """There is nothing at this path."""

    code = "route_unknown"

    def __init__(self, path: str) -> None:
        super().__init__(f"There is nothing at {path[:200]}. `/docs` lists every route.")


class MethodNotAllowed(RequestError):
    """The path is there, the method is not."""

    code = "method_not_allowed"

    def __init__(self, method: str, path: str) -> None:
        super().__init__(f"{path[:200]} does not take {method[:20]}. `/docs` lists every route.")


class NotOffered(RequestError):
    """The queue behind this door cannot do what was asked for."""

    code = "not_offered"

    def __init__(self, feature: str) -> None:
        super().__init__(f"The queue behind this endpoint does not offer {feature}.", feature=feature)
