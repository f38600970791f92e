"""What the journal returns of sessions, their files and jobs, and of itself: one frozen value per kind of row."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Any, ClassVar, NamedTuple, Self

from labferry.model import FileFate, FileVersion, History, JobKind, JobState, SessionState, Stage


class FromRow:
    """Build the value from the columns of the same names."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @classmethod
    def of(cls, row: sqlite3.Row) -> Self:
        """Return the value of one row."""
        return cls(**{name: row[name] for name in cls.__dataclass_fields__})

    @classmethod
    def each(cls, rows: Iterable[sqlite3.Row]) -> Iterator[Self]:
        """Yield the values of many rows of one statement, whose columns are looked up once."""
        rows = iter(rows)
        first = next(rows, None)
        if first is None:
            return
        names = first.keys()
        columns = itemgetter(*(names.index(name) for name in cls.__dataclass_fields__))
        for row in chain((first,), rows):
            yield cls(*columns(row))


@dataclass(frozen=True, slots=True)
class SessionRow(FromRow):
    """A session with its derived state; times in epoch seconds."""

    id: int
    root: str
    path: bytes
    layout: str
    subject: str
    date: str
    number: int
    lab: str | None
    repository: str | None
    eid: str | None
    first_seen_at: float
    signal: str | None
    signal_seen_at: float | None
    signature: bytes | None
    signature_at: float | None
    wait_code: str | None
    wait_why: str | None
    wait_since: float | None
    complete_at: float | None
    generation: int
    sealed_generation: int
    held_at: float | None
    excluded_at: float | None
    closed_folder: bytes | None
    closed_why: str
    moved_from: int | None
    created_here: int
    written: str
    vanished_at: float | None
    history: History | None
    history_code: str
    history_why: str
    history_at: float | None
    registered_at: float | None
    archived_at: float | None
    blocked_job: int | None
    rejected: int
    state: SessionState
    attention: bool

    def __post_init__(self) -> None:
        """Turn SQLite's text and numbers into the model's values."""
        object.__setattr__(self, "state", SessionState(self.state))
        object.__setattr__(self, "attention", bool(self.attention))
        object.__setattr__(self, "history", History(self.history) if self.history else None)

    @property
    def seen_complete(self) -> bool:
        """Whether it became complete under our eyes: only then it is known what the rig did not send (ruling 23)."""
        return self.history_at is None


@dataclass(frozen=True, slots=True)
class JobRow(FromRow):
    """A job; times in epoch seconds."""

    id: int
    session_id: int
    kind: JobKind
    target: str
    dedupe: str
    generation: int
    state: JobState
    stage: Stage
    attempts: int
    failures: int
    outages: int
    not_before: float
    bytes_left: int
    code: str
    reason: str
    hint: str
    claimed_by: str | None
    created_at: float
    updated_at: float
    finished_at: float | None
    options: str = ""

    def __post_init__(self) -> None:
        """Turn SQLite's text into the model's values."""
        object.__setattr__(self, "kind", JobKind(self.kind))
        object.__setattr__(self, "state", JobState(self.state))
        object.__setattr__(self, "stage", Stage(self.stage))


@dataclass(frozen=True, slots=True)
class FileRow(FromRow):
    """A file of a session's manifest."""

    id: int
    session_id: int
    path: bytes
    generation: int
    size: int
    mtime_ns: int
    ctime_ns: int
    md5: str | None
    fate: FileFate
    code: str
    reason: str
    dataset_id: str | None
    registered_hash: str | None
    registered_at: float | None
    taken_over: int

    def __post_init__(self) -> None:
        """Turn SQLite's text into the model's values."""
        object.__setattr__(self, "fate", FileFate(self.fate))

    @property
    def is_registered(self) -> bool:
        """Whether Alyx has this version, as far as we know: we registered it, or took it over by its size."""
        return self.registered_hash is not None and (bool(self.taken_over) or self.registered_hash == self.md5)

    @property
    def version(self) -> FileVersion:
        """The version of the file that was listed."""
        return FileVersion(self.path, self.size, self.mtime_ns, self.ctime_ns)


class CarriableRow(NamedTuple):
    """What planning needs of a file of a manifest, quickly made: a session may have 100,000."""

    id: int
    path: bytes
    size: int
    md5: str | None
    fate: str
    code: str
    dataset_id: str | None


@dataclass(frozen=True, slots=True)
class StepRow(FromRow):
    """One remote effect: what was sent, and what came back if an answer arrived."""

    id: int
    job_id: int
    name: str
    request: str
    sent_at: float
    answer: str | None
    answered_at: float | None


@dataclass(frozen=True, slots=True)
class StuckRow(FromRow):
    """One of the sessions that detection has waited for longest by the same reason, and how many there are."""

    code: str
    sessions: int
    since: float
    example: int


@dataclass(frozen=True, slots=True)
class RecoveryRow(FromRow):
    """A damaged journal that was replaced: when, why, where it is kept, by which backup, and what that knows of."""

    at: float
    why: str
    kept_as: str
    backup: str
    known_until: float | None


@dataclass(frozen=True, slots=True)
class EventRow(FromRow):
    """One line of the history."""

    id: int
    at: float
    session_id: int | None
    job_id: int | None
    action: str
    from_state: str | None
    to_state: str | None
    code: str
