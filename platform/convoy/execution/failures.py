"""What ended an attempt: an exception in, a class of failure and words for people out."""

from __future__ import annotations

import errno
import logging
import traceback
from dataclasses import dataclass

from backbones.errors import BackboneError
from convoy.errors import ConvoyError, LaunchError, StorageError, StoreAwayError, WorkerFailedError
from convoy.states import Failure
from jobs.errors import (
    DatasetError,
    DivergedError,
    InterruptedRunError,
    JobError,
    OutOfMemoryError,
    SpecError,
)

logger = logging.getLogger(__name__)

TAIL_LINES = 15
"""Lines of a traceback that are kept with the failure; the log has all."""

CLASSES: tuple[tuple[type[BaseException], Failure], ...] = (
    (SpecError, Failure.SPEC),
    (BackboneError, Failure.SPEC),
    (DatasetError, Failure.DATA),
    (DivergedError, Failure.DIVERGED),
    (InterruptedRunError, Failure.PREEMPTED),
    (StorageError, Failure.STORAGE),
    (StoreAwayError, Failure.STORE_AWAY),
    (LaunchError, Failure.PLACEMENT),
    (MemoryError, Failure.HOST_MEMORY),
)

SIGNS: tuple[tuple[str, Failure], ...] = (
    ("CUDA out of memory", Failure.GPU_MEMORY),
    ("CUDA error: out of memory", Failure.GPU_MEMORY),
    ("CUBLAS_STATUS_ALLOC_FAILED", Failure.GPU_MEMORY),
    ("can't allocate memory", Failure.HOST_MEMORY),
    ("Cannot allocate memory", Failure.HOST_MEMORY),
    ("is killed by signal: Killed", Failure.HOST_MEMORY),
    ("PytorchStreamWriter failed writing", Failure.STORAGE),
    ("No space left on device", Failure.STORAGE),
)
"""What libraries say when they raise nothing more telling than a RuntimeError."""


@dataclass(frozen=True)
class Ending:
    """How the work of an attempt failed.

    Attributes:
        failure: Its class.
        text: Cause first, then where it happened.
    """

    failure: Failure
    text: str


def classify(error: BaseException) -> Failure:
    """Return the class of failure of an exception."""
    if isinstance(error, OutOfMemoryError) or type(error).__name__ == "OutOfMemoryError":
        on_host = isinstance(error, JobError) and not _names_a_gpu(str(error))
        return Failure.HOST_MEMORY if on_host else Failure.GPU_MEMORY
    if isinstance(error, WorkerFailedError):
        return error.failure
    for kind, failure in CLASSES:
        if isinstance(error, kind):
            return failure
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        return Failure.STORAGE
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return Failure.HOST_MEMORY
    return next((failure for sign, failure in SIGNS if sign in str(error)), Failure.CODE)


def log(error: BaseException, *, who: str) -> None:
    """Log what ended `who`; with its traceback unless the message says all."""
    logger.log(logging.ERROR, "%s failed: %s", who, error, exc_info=not _is_ours(error))


def explain(error: BaseException) -> Ending:
    """Return the class of a failure and its text.

    An error of ours says all in its message; any other is a fault in code and brings its traceback.
    """
    failure = classify(error)
    if _is_ours(error):
        return Ending(failure, str(error))
    cause = "".join(traceback.format_exception_only(error)).strip()
    lines = "".join(traceback.format_exception(error)).splitlines()
    return Ending(failure, "\n".join([cause, *lines[-TAIL_LINES:]]))


def _is_ours(error: BaseException) -> bool:
    return isinstance(error, JobError | ConvoyError | BackboneError)


def _names_a_gpu(text: str) -> bool:
    return any(word in text.lower() for word in ("gpu", "cuda", "device memory"))
