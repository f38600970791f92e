"""How a look at the world becomes a check: what it raises is what was found."""

from __future__ import annotations

from collections.abc import Callable

from labferry.config.checks import Check, Result
from labferry.errors import CODES, LabferryError


def checked(name: str, look: Callable[[], str]) -> Check:
    """Run a look; the sentence it returns is fine, a condition it raises is an error with its own remedy."""
    try:
        return Check(name, Result.OK, look())
    except LabferryError as error:
        return failed(name, error)


def failed(name: str, error: LabferryError) -> Check:
    """Return what a condition means for a precondition."""
    hint = error.hint or (CODES[error.code].hint if error.code in CODES else "")
    return Check(name, Result.ERROR, f"{error.code}: {error.message}", hint)


def skipped(name: str, why: str) -> Check:
    """Return a check that could not, or need not, be made."""
    return Check(name, Result.SKIPPED, why)
