"""What has become of a job on Modal, in the words of RunPod's API: its calls' answers and errors (modal 1.6)."""

from dataclasses import dataclass
from typing import Any

import modal

from comfyport.errors import ComfyportError, EndpointFailed, JobUnknown, PolicyExceeded, WorkerStopped
from comfyport.serve.job import Status

# Raised where the call itself came to nothing; every other error of Modal's is about asking for it.
BROKEN = (
    modal.exception.RemoteError,
    modal.exception.InternalFailure,
    modal.exception.ExecutionError,
    modal.exception.DeserializationError,
)


@dataclass(frozen=True)
class Outcome:
    """A call as it is now; `answer` is the job's, once there is one."""

    status: Status
    answer: dict[str, Any] | None = None


async def outcome(call_id: str, seconds: float) -> Outcome:
    """A call when it has ended, or IN_PROGRESS after `seconds`: Modal does not tell whether it has started.

    Raises JobUnknown, and EndpointFailed where Modal cannot be asked.
    """
    try:
        answer = await modal.FunctionCall.from_id(call_id).get.aio(timeout=seconds)
    except TimeoutError:
        return Outcome("IN_PROGRESS")
    except modal.exception.FunctionTimeoutError as error:
        reason = f"by Modal ({error}); COMFYPORT_MODAL_TIMEOUT gives jobs longer"
        return Outcome("TIMED_OUT", WorkerStopped(reason).as_answer())
    except modal.exception.InputCancellation:
        return Outcome("CANCELLED")
    except BROKEN as error:
        # The container of a cancelled call ends it as TERMINATED, without a word (_runtime/container_io_manager.py).
        if type(error) is modal.exception.RemoteError and not str(error):
            return Outcome("CANCELLED")
        return Outcome("FAILED", WorkerStopped(f"while it had the job ({error})").as_answer())
    except ComfyportError as error:
        return Outcome("FAILED", error.as_answer())
    except (modal.exception.OutputExpiredError, modal.exception.NotFoundError, modal.exception.InvalidError):
        raise JobUnknown(call_id) from None
    except modal.exception.Error as error:
        raise EndpointFailed("Modal", str(error) or type(error).__name__) from None
    if not isinstance(answer, dict):
        # The call of another function, or of a generator: whoever made it has had what it gave.
        raise JobUnknown(call_id)
    if answer.get("error_code") == PolicyExceeded.code:
        return Outcome("TIMED_OUT", answer)
    return Outcome("FAILED" if "error" in answer else "COMPLETED", answer)
