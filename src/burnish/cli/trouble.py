"""What went wrong with a file, or with the service, and what a person can do about it. Used by `batch.py`."""

from pathlib import Path
from typing import Final

from burnish.cli.place import Place
from burnish.cli.progress import Failure
from burnish.client import Invalid, Problem, Refused, Task, TaskFailed
from burnish.errors import Unusable

#: By the reason of a failed task, or the code of a refusal.
_ADVICE: Final = {
    "decode_failed": "Open it in a picture program and save it again, as PNG or JPEG.",
    "unsupported_format": "Save it as JPEG, PNG, WebP or TIFF first.",
    "input_too_large": "Make it smaller first.",
    "duration_out_of_range": "Cut it into parts of half a second to an hour.",
    "upload_too_large": "Make it smaller first.",
    "output_too_large": "Choose a smaller --scale, or another --format.",
    "insufficient_credits": "Add credits to the account; waiting does not help.",
    "key_credits_spent": "Have the key's cap raised, or use another key.",
    "max_credits_exceeded": "Raise --max-credits, or ask for less.",
    "daily_limit_reached": "Give the same command again when the day's limit is reset: what is done stays done.",
    "deadline_exceeded": "Try again when the service has less to do, or with a smaller picture.",
    "storage_full": "The service's disk is full: tell its operator, or make room.",
    "output_exists": "Give --overwrite, or another folder with -o.",
}
#: What every other file would meet too, and no retry mends: no more files are begun.
_ENDS_THE_BATCH: Final = frozenset({"insufficient_credits", "key_credits_spent", "daily_limit_reached"})


def failed_by(file: Path, error: Problem) -> Failure:
    """Why a file has no result."""
    task = error.task
    if isinstance(error, TaskFailed):
        message = error.task.status_message or str(error)
        return failure(file, error.task.status_reason or "internal", message, task, error.task.retryable)
    if isinstance(error, Refused):
        words = f"{error.message} (request {error.request_id})" if error.status >= 500 else error.message
        return failure(file, error.code, words, task, error.retryable)
    return failure(file, "damaged", str(error), task, retryable=True)


def failure(
    file: Path, reason: str, message: str, task: Task | None = None, retryable: bool = False
) -> Failure:
    """The same, with what to do about it."""
    advice = _ADVICE.get(reason) or ("Give the same command again." if retryable else None)
    return Failure(file, task.id if task else None, reason, message, advice, retryable)


def ends_the_batch(failed: Failure) -> bool:
    """Whether the files that follow would fail for the same reason."""
    return failed.reason in _ENDS_THE_BATCH


def of_every_file(error: Invalid, source: str) -> bool:
    """Whether it is the model or a parameter that is wrong, which all files share, and not what `source` names."""
    param = error.param or ""
    return param == "model" or (param.startswith("input.") and param.partition("[")[0] != f"input.{source}")


def with_service(error: Problem, place: Place) -> Unusable:
    """What is wrong with the service, and what to look at."""
    return Unusable((error.message if isinstance(error, Refused) else str(error)) + place.hint)
