"""Archive room: what an errno of the source or of the target means for an operator.

The two sides are told apart where the call is made: `reading` wraps every call on a session folder, `working_at`
every call on the archive.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from errno import (
    EACCES,
    EDQUOT,
    EHOSTDOWN,
    EHOSTUNREACH,
    EILSEQ,
    EISDIR,
    ELOOP,
    ENAMETOOLONG,
    ENODEV,
    ENOENT,
    ENOSPC,
    ENOTCONN,
    ENOTDIR,
    ENXIO,
    EPERM,
    EROFS,
    ESTALE,
    ETIMEDOUT,
)

from labferry.errors import BlockedError, ChangedError, LabferryError, NotYetError, UnavailableError
from labferry.model import first_of, show_path

_GONE = frozenset({ENODEV, ENOTCONN, ENXIO, ESTALE, EHOSTDOWN, EHOSTUNREACH, ETIMEDOUT})
_FULL = frozenset({ENOSPC, EDQUOT})
_DENIED = frozenset({EACCES, EPERM, EROFS})
OTHER_KIND = frozenset({ENOTDIR, EISDIR, ELOOP})

NAMED = 5  # problems in one sentence; the rest is counted
_LOOK_AGAIN = 60.0


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)


# --- the archive --------------------------------------------------------------------------------------------


@contextmanager
def working_at(target: str, path: bytes) -> Iterator[None]:
    """Translate the errors of calls on `path` of the archive `target`."""
    try:
        yield
    except OSError as error:
        raise target_error(target, path, error) from error


def target_error(target: str, path: bytes, error: OSError) -> LabferryError:
    """Return what `error` on `path` of the archive `target` means.

    What concerns the whole target is an `UnavailableError`; what concerns one name only is a `BlockedError`, so
    that one file never holds up the others.
    """
    where = f"archive {target}: {show_path(path)}: {_reason(error)}"
    if error.errno in OTHER_KIND:
        return BlockedError("destination_differs", f"{where}: something else stands where a file or folder belongs")
    if error.errno == ENAMETOOLONG:
        return BlockedError("name_too_long", where)
    if error.errno == EILSEQ:
        return refused_name(target, path)
    return UnavailableError(f"archive:{target}", _target_code(error.errno), where)


def _target_code(number: int | None) -> str:
    if number in _FULL:
        return "target_full"
    if number in _DENIED:
        return "target_readonly"
    return "target_missing" if number == ENOENT or number in _GONE else "target_error"


def target_missing(target: str, base: bytes, error: OSError) -> UnavailableError:
    """Return what `error` means when it is the target's own folder that cannot be opened."""
    code = "target_missing" if error.errno in OTHER_KIND else _target_code(error.errno)
    return UnavailableError(f"archive:{target}", code, f"archive {target}: {show_path(base)}: {_reason(error)}")


def target_empty(target: str, base: bytes) -> UnavailableError:
    """Return the error for a folder that held copies and is empty: a mount point without its mount looks so."""
    return UnavailableError(
        f"archive:{target}",
        "target_missing",
        f"archive {target}: {show_path(base)} is empty, and files were archived in it: its disk is not mounted. If it "
        "is meant to begin anew, make a folder in it",
    )


def target_full(target: str, base: bytes, needed: int, free: int) -> UnavailableError:
    """Return the error that names how many bytes are missing."""
    return UnavailableError(
        f"archive:{target}",
        "target_full",
        f"archive {target}: {show_path(base)}: {needed - free} bytes are missing ({needed} needed, {free} free)",
    )


def refused_name(target: str, path: bytes) -> BlockedError:
    """Return the error for a name that the archive's file system does not take."""
    return BlockedError(
        "destination_refused",
        f"archive {target}: {show_path(path)}: the file system of the archive cannot hold this name, or can neither "
        "link nor rename without replacing",
        "Rename the file, or put the archive on a file system with hard links, then `labferry retry SESSION`.",
    )


def differs(target: str, path: bytes, detail: str) -> BlockedError:
    """Return the error for a destination that holds something else."""
    return BlockedError("destination_differs", f"archive {target}: {show_path(path)}: {detail}")


def unreadable_destination(target: str, path: bytes, error: OSError) -> BlockedError:
    """Return the error for a destination that exists and cannot be compared."""
    return BlockedError(
        "unreadable", f"archive {target}: {show_path(path)} exists and cannot be compared: {_reason(error)}"
    )


def in_one(problems: list[BlockedError]) -> BlockedError:
    """Return one error that names every problem of a plan."""
    first = problems[0]
    if len(problems) == 1:
        return first
    shown = first_of((problem.message for problem in problems[:NAMED]), len(problems), "; ")
    return BlockedError(first.code, f"{len(problems)} files: {shown}", first.hint)


# --- the session folder -------------------------------------------------------------------------------------


@contextmanager
def reading(session_dir: bytes, path: bytes) -> Iterator[None]:
    """Translate the errors of reading `path` below the session folder."""
    try:
        yield
    except OSError as error:
        raise _source_error(session_dir, path, error) from error


def _source_error(session_dir: bytes, path: bytes, error: OSError) -> LabferryError:
    where = show_path(os.path.join(session_dir, path))
    if error.errno in _GONE or (error.errno == ENOENT and not os.path.isdir(session_dir)):
        return source_missing(session_dir, error)
    if error.errno == ENOENT:
        return ChangedError(path, f"{where} is gone since it was sealed")
    if error.errno in OTHER_KIND:
        return ChangedError(path, f"{where} is no regular file any more")
    return BlockedError("unreadable", f"{where}: {_reason(error)}")


def source_missing(session_dir: bytes, error: OSError) -> LabferryError:
    """Return what it means that the session folder itself cannot be opened."""
    where = f"{show_path(session_dir)}: {_reason(error)}"
    if error.errno in {EACCES, EPERM}:
        return BlockedError("unreadable", where)
    return NotYetError("source_missing", where, _LOOK_AGAIN)
