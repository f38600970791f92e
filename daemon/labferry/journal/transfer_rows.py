"""What the journal returns of transfers and the tasks that carry them: one frozen value per kind of row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from labferry.journal.rows import FromRow
from labferry.model import FileVersion


@dataclass(frozen=True, slots=True)
class TransferRow(FromRow):
    """The bytes of one archive job on their way."""

    id: int
    job_id: int
    target: str
    base: bytes
    batch: str
    state: str
    ticket: str | None
    bytes_total: int
    files_total: int
    bytes_done: int
    files_done: int
    started_at: float
    updated_at: float
    ended_at: float | None
    source: str | None
    endpoint: str | None
    alone: int
    trouble: str
    trouble_text: str


@dataclass(frozen=True, slots=True)
class TaskRow(FromRow):
    """A task of the Globus Transfer service; times in epoch seconds.

    `fault_since` says since when it has met the same fault, without a moment in which all was well.
    """

    id: int
    target: str
    batch: str
    label: str
    submission_id: str
    source_endpoint: str
    destination_endpoint: str
    checksums: int
    globus_id: str | None
    state: str
    files: int
    bytes: int
    progress: int
    progress_at: float
    fault: str
    fault_text: str
    evidence: str
    created_at: float
    updated_at: float
    ended_at: float | None
    fault_since: float | None


@dataclass(frozen=True, slots=True)
class ProbeRow(FromRow):
    """A directory that may have been made at a destination only to see whether one can."""

    endpoint: str
    path: str
    submission_id: str | None


@dataclass(frozen=True, slots=True)
class CargoRow(FromRow):
    """A file as a task carries it: where it is and where it goes, as the collections name them, and its version."""

    transfer_id: int
    file_id: int
    source: str
    base: bytes
    path: bytes
    destination: bytes
    size: int
    md5: str
    mtime_ns: int
    ctime_ns: int
    arrived_how: str | None

    @property
    def version(self) -> FileVersion:
        """The version of the source file that was planned."""
        return FileVersion(self.path, self.size, self.mtime_ns, self.ctime_ns)


class ParcelRow(NamedTuple):
    """What a task's document needs of a file, quickly made: a task may have 100,000."""

    transfer_id: int
    file_id: int
    source: str
    base: bytes
    path: bytes
    destination: bytes
    size: int
    md5: str


@dataclass(frozen=True, slots=True)
class EarlierRow(FromRow):
    """A destination that an older transfer of a session wrote, or began to write; `verified_at` is the evidence."""

    file_id: int
    destination: bytes
    md5: str
    size: int
    verified_at: float | None


@dataclass(frozen=True, slots=True)
class ReadyRow(FromRow):
    """A transfer that waits for a task, with the number and bytes of its files that are not in one."""

    transfer_id: int
    job_id: int
    session_id: int
    created_at: float
    alone: int
    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class ItemRow(FromRow):
    """One file of a transfer, with the version of its source; `verified_at` is the evidence.

    `place` is where the bytes are, or will be, now: `staged` until they replace what stands at `destination`, which is
    then kept as `kept`. `registered_hash` is what we last wrote to Alyx about the file.
    """

    transfer_id: int
    file_id: int
    path: bytes
    mtime_ns: int
    ctime_ns: int
    dataset_id: str | None
    destination: bytes
    size: int
    md5: str
    verified_at: float | None
    verified_how: str | None
    marked_at: float | None
    ours: int | None
    task_id: int | None
    arrived_how: str | None
    staged: bytes | None
    kept: bytes | None
    exchange_at: float | None
    exchanged_at: float | None
    place: bytes
    registered_hash: str | None

    @property
    def version(self) -> FileVersion:
        """The version of the source file that was planned."""
        return FileVersion(self.path, self.size, self.mtime_ns, self.ctime_ns)

    @property
    def is_staged(self) -> bool:
        """Whether it has a name of its own until it replaces what stands at its destination."""
        return self.place != self.destination


@dataclass(frozen=True, slots=True)
class CopyRow(FromRow):
    """A verified copy of a file at an archive target; `base` and `destination` together say where."""

    target: str
    base: bytes
    destination: bytes
    md5: str
    verified_at: float
    verified_how: str | None
