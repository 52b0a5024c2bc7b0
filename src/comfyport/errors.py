"""Every error that a user can see, as one small tree.

    ComfyportError
        UsageError              what was asked for cannot be right: exit status 2
            InvalidSetting, InvalidLock, UnknownGroup, NotLocked
        ModelError              a model could not be brought to the volume
            VolumeUnusable, DiskFull, SourceFailed, SourceChanged, WrongSize, WrongDigest, WrongFormat,
            ArchiveRefused, ModelNotReady
        ComfyUIError            the program that we run
            ComfyUIMissing, NoGPU, PortInUse, ComfyUIDied, ComfyUIUnreachable, ComfyUIRefused
        JobError                one job; the worker goes on
            InvalidJob, InputFailed, WorkflowRejected, ExecutionFailed, JobTimedOut,
            JobCancelled, JobLost, OutputFailed, NoOutputs, QueueFull, JobUnknown
        EndpointFailed, RemoteJobFailed     what `comfyport run` met
        Unauthorized            an HTTP request without the right key

Each class has a stable `code`; its message says what happened and what to do; `details` holds the facts
behind the message as data. Only the doors (`serve/`, `cli/`) turn errors into text, JSON and exit status.
"""

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
    """A models.lock.json that cannot be read or breaks a rule of the format."""

    code = "invalid_lock"

    def __init__(self, file: str, problems: list[str]) -> None:
        listed = "\n".join(f"  - {problem}" for problem in problems)
        super().__init__(f"{file} is not a valid lock. Correct this and start again:\n{listed}", file=file)
        self.details["problems"] = problems


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
            "Give each entry its size, its sha256 and a source pinned by commit.",
            entries=entries,
        )


class ModelNotReady(ModelError):
    """A job needs a model whose download has failed."""

    code = "model_not_ready"

    def __init__(self, failures: dict[str, str]) -> None:
        listed = "; ".join(f"{path}: {reason}" for path, reason in failures.items())
        super().__init__(f"The workflow needs models that could not be downloaded: {listed}", models=failures)


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
    """ComfyUI's validation refuses the workflow."""

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

    def __init__(self, prompt_id: str) -> None:
        super().__init__("Job processing failed")
        self.details = {
            "problems": [f"No outputs found in history for prompt {prompt_id}."],
            "hint": "The workflow needs an output node that runs, for example SaveImage.",
        }


class QueueFull(JobError):
    """As many jobs wait as may wait."""

    code = "queue_full"

    def __init__(self, waiting: int) -> None:
        super().__init__(
            f"{waiting} jobs are waiting already. Send the job again later, or raise QUEUE_SIZE.",
            waiting=waiting,
        )


class JobUnknown(JobError):
    """No job has this id."""

    code = "job_unknown"

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"There is no job {job_id}. Results are kept for a limited time; see RESULT_SECONDS.", id=job_id
        )


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


class Unauthorized(ComfyportError):
    """An HTTP request without the right key."""

    code = "unauthorized"

    def __init__(self) -> None:
        super().__init__("This needs the header `Authorization: Bearer <COMFYPORT_API_KEY>`.")
