"""Errors of this package.

ConvoyError
├── SettingsError        the environment or the settings file is wrong
├── RunNotFoundError     no such run
├── IllegalMoveError     a run in this state does not go there
├── SupersededError      a later attempt (or an end) has taken this attempt's place
├── LaunchError          an attempt could not be started
├── WorkerFailedError    one of several workers failed
├── StorageError         artifacts cannot be written or read, or do not match their checksums
├── SubmissionError      a submission is refused
└── StoreError           the store cannot be used
    ├── StoreAwayError       it does not answer; trying again may help
    └── StoreVersionError    it was written by another version
"""

from __future__ import annotations

from convoy.states import Failure


class ConvoyError(Exception):
    """The platform refuses or cannot go on; the message says what was found and what would do."""


class SettingsError(ConvoyError):
    """The environment or the settings file is wrong."""


class RunNotFoundError(ConvoyError):
    """No such run."""


class IllegalMoveError(ConvoyError):
    """A run in this state does not go there."""


class SupersededError(ConvoyError):
    """A later attempt, or the run's end, has taken this attempt's place.

    It must stop and write nothing more.
    """


class LaunchError(ConvoyError):
    """An attempt could not be started."""


class WorkerFailedError(ConvoyError):
    """One of several workers failed, and the others with it.

    Attributes:
        failure: The class of failure, as that worker found it.
    """

    def __init__(self, text: str, *, failure: Failure) -> None:
        super().__init__(text)
        self.failure = failure


class StorageError(ConvoyError):
    """Artifacts cannot be written or read, or do not match their checksums."""


class SubmissionError(ConvoyError):
    """A submission is refused."""


class StoreError(ConvoyError):
    """The store cannot be used."""


class StoreAwayError(StoreError):
    """The store does not answer; trying again may help."""


class StoreVersionError(StoreError):
    """The store was written by another version of the platform."""
