"""Errors of this package. Each maps to one failure class of the queue.

JobError
├── SpecError            the spec is wrong
├── DatasetError         the data are missing, broken or not what the spec says
├── DivergedError        a loss or weight is not finite any more
├── OutOfMemoryError     a device or the host ran out of memory
└── InterruptedRunError  asked to stop; a checkpoint was kept
"""

from __future__ import annotations


class JobError(Exception):
    """A run cannot go on; the message says what was found and what would do."""


class SpecError(JobError):
    """The spec is wrong."""


class DatasetError(JobError):
    """The data are missing, broken or not what the spec says."""


class DivergedError(JobError):
    """A loss or a weight is not finite any more."""


class OutOfMemoryError(JobError):
    """A device or the host ran out of memory."""


class InterruptedRunError(JobError):
    """The run was asked to stop and kept a checkpoint.

    Attributes:
        reason: Why, as the context gave it.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"stopped on request: {reason}")
        self.reason = reason
