"""From what the other rooms raise to the one outcome an attempt ends with."""

from __future__ import annotations

import traceback

from labferry.errors import (
    BlockedError,
    ChangedError,
    LabferryError,
    NotYetError,
    UnavailableError,
    UnexplainedError,
    UnknownOutcomeError,
)
from labferry.model import Blocked, Outcome, Retry, Waiting, show_path

LOOK_AGAIN = 1.0  # seconds until the first look after a lost answer
RESETTLE_WAIT = 86_400.0  # the next generation supersedes the job long before


def outcome_of(error: Exception) -> Outcome:
    """Return the outcome that an exception stands for.

    Whatever is not a condition with a name is a `Retry` that keeps its traceback.
    """
    match error:
        case BlockedError():
            return Blocked(error.code, error.message, error.hint)
        case UnavailableError():
            return Waiting(error.retry_after, error.code, error.message, dependency=error.dependency)
        case NotYetError():
            return Waiting(error.after, error.code, error.message)
        case UnknownOutcomeError():
            return Waiting(LOOK_AGAIN, error.code, error.message)
        case ChangedError():
            why = f"{show_path(error.path)}: {error.message}"
            return Waiting(RESETTLE_WAIT, error.code, why, resettle=True)
        case UnexplainedError():
            return Retry(error.code, error.message)
        case LabferryError():
            return Blocked(error.code, error.message, error.hint)
        case _:
            why = f"{type(error).__name__}: {error}"
            return Retry("unexpected", why, detail="".join(traceback.format_exception(error)))
