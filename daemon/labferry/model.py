"""The values every room speaks in: states, outcomes, file versions, clocks.

Bottom of the layers: nothing here imports another labferry module, opens a file or talks to anyone.
"""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Protocol


class SessionState(StrEnum):
    """The furthest fact reached for a session; whether it needs a person is a separate fact (ruling 22)."""

    SETTLING = "settling"
    COMPLETE = "complete"
    REGISTERED = "registered"
    ARCHIVED = "archived"
    ADOPTED = "adopted"
    BACKLOG = "backlog"
    HELD = "held"
    VANISHED = "vanished"
    IGNORED = "ignored"


class History(StrEnum):
    """Where a session stands that was old when its root was met (ruling 2); ordinary sessions stand nowhere."""

    UNASKED = "unasked"  # Alyx will be asked what it has of it
    ADOPTED = "adopted"
    BACKLOG = "backlog"
    IGNORED = "ignored"


class JobKind(StrEnum):
    """What a job intends."""

    REGISTER = "register"
    ARCHIVE = "archive"
    NOTE = "note"


class JobState(StrEnum):
    """Where a job stands. `waiting`: the world must move; `blocked`: a person must act."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    BLOCKED = "blocked"
    DONE = "done"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"


LIVE_STATES = (JobState.QUEUED, JobState.RUNNING, JobState.WAITING, JobState.BLOCKED)


class Stage(StrEnum):
    """One lane's share of a job; a job passes through the stages of its kind in order."""

    RESOLVE = "resolve"
    SEAL = "seal"
    REGISTER = "register"
    ARCHIVE = "archive"
    NOTE = "note"


STAGES: Mapping[JobKind, tuple[Stage, ...]] = {
    JobKind.REGISTER: (Stage.RESOLVE, Stage.SEAL, Stage.REGISTER),
    JobKind.ARCHIVE: (Stage.SEAL, Stage.ARCHIVE),
    JobKind.NOTE: (Stage.NOTE,),
}


class Lane(StrEnum):
    """A named thread (or two) of the daemon. Archive lanes carry their target's name as a suffix."""

    DETECT = "detect"
    SEAL = "seal"
    REGISTER = "register"
    ARCHIVE = "archive"
    NOTIFY = "notify"
    CONTROL = "control"


# --- outcomes: every attempt ends as exactly one of these -------------------------------------------------


@dataclass(frozen=True, slots=True)
class Done:
    """The stage is finished and the outside world confirmed it."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """The world must move first. Burns no attempts.

    Attributes
    ----------
    after : float
        Seconds until another look makes sense.
    code, why : str
        Reason code and one sentence for the operator.
    dependency : str or None
        The dependency that is down, when that is the reason (`alyx`, `archive:nas`): opens its breaker.
    resettle : bool
        The session's files changed under the job: it goes back to detection, and the job of its next
        generation supersedes this one.
    """

    after: float
    code: str
    why: str
    dependency: str | None = None
    resettle: bool = False


@dataclass(frozen=True, slots=True)
class Retry:
    """Something unexpected; try again after a while, a limited number of times.

    `after` is a lower bound in seconds (0 leaves it to the backoff); `detail` keeps the traceback.
    """

    code: str
    why: str
    after: float = 0.0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Blocked:
    """A person must act; `hint` says who and how."""

    code: str
    message: str
    hint: str


Outcome = Done | Waiting | Retry | Blocked


# --- files ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, order=True)
class FileVersion:
    """One version of one file below a session folder; two equal versions have equal bytes (ruling 6).

    Attributes
    ----------
    path : bytes
        Relative to the session folder, `/` between parts.
    size : int
        Bytes.
    mtime_ns, ctime_ns : int
        As `stat` gives them, nanoseconds.
    """

    path: bytes
    size: int
    mtime_ns: int
    ctime_ns: int


class FileFate(StrEnum):
    """What is decided for a file of a session: every file has a fate and every fate a reason."""

    DATASET = "dataset"  # registered
    UNMATCHED = "unmatched"  # no registration pattern asks for it
    EXCLUDED = "excluded"  # a named rule leaves it out
    REJECTED = "rejected"  # it should be registered and cannot be


@dataclass(frozen=True, slots=True)
class Decision:
    """Why a file is, or is not, a dataset.

    `code` is empty for a dataset, else one of the reasons of `labferry.datasets`.
    """

    fate: FileFate
    code: str = ""
    reason: str = ""
    pattern: str = ""
    dataset_type: str = ""
    data_format: str = ""


# --- time -------------------------------------------------------------------------------------------------


class Clock(Protocol):
    """Wall time for people and records, monotonic time for decisions."""

    def now(self) -> float:
        """Return seconds since the epoch."""

    def monotonic(self) -> float:
        """Return seconds on a clock that never jumps."""


class SystemClock:
    """The machine's clocks."""

    def now(self) -> float:
        """Return seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds on a clock that never jumps."""
        return time.monotonic()


def utc_text(seconds: float | None) -> str | None:
    """Render epoch seconds as RFC 3339 UTC with `Z` and milliseconds; None stays None (ruling 25)."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def utc_seconds(text: str) -> float:
    """Read an RFC 3339 time back to epoch seconds.

    Raises
    ------
    ValueError
        `text` is not such a time.
    """
    return datetime.fromisoformat(text).timestamp()


_DURATIONS = ((86_400.0, "day"), (3600.0, "h"), (60.0, "min"))


def rough_duration(seconds: float) -> str:
    """Render a duration in its largest unit: `0.3 s`, `45 s`, `3 min`, `2 h`, `5 days`."""
    for length, unit in _DURATIONS:
        if seconds >= length:
            count = int(seconds // length)
            return f"{count:,} {unit}s" if unit == "day" and count > 1 else f"{count:,} {unit}"
    return f"{seconds:.0f} s" if seconds >= 9.5 else f"{max(0.0, seconds):.1f} s".replace(".0 s", " s")


# --- words ------------------------------------------------------------------------------------------------


def first_of(names: Iterable[str], count: int, between: str = ", ") -> str:
    """Render the first names of `count` in one line, and how many more there are: `a, b and 3 more`."""
    named = list(names)
    more = f" and {count - len(named)} more" if count > len(named) else ""
    return between.join(named) + more


# --- paths ------------------------------------------------------------------------------------------------

_CONTROLS = {number: f"\\x{number:02x}" for number in (*range(32), 127)}


def show_path(path: bytes) -> str:
    r"""Render a path for people: UTF-8, and `\xNN` for bytes that are not, or that would break a line (ruling 25)."""
    return path.decode("utf-8", "backslashreplace").translate(_CONTROLS)


def folders_above(path: bytes) -> Iterator[bytes]:
    """Yield the folders that a relative path lies in, the nearest first; the last one is empty."""
    while path:
        path = path.rpartition(b"/")[0]
        yield path


def path_fields(path: bytes) -> dict[str, str]:
    """Return the JSON fields of a path: `path`, and `path_b64` when the text alone would lose bytes."""
    fields = {"path": show_path(path)}
    if os.fsencode(fields["path"]) != path:
        fields["path_b64"] = base64.b64encode(path).decode("ascii")
    return fields
