"""Archive room: what is said to Globus and what it says, as values. Nothing is opened or asked here.

Paths are text as the collections have them: absolute, `/` between parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple


class TransferItem(NamedTuple):
    """One file of a transfer, which may have 100,000.

    Attributes
    ----------
    source, destination : str
        Its absolute path in the source and in the destination collection.
    size : int
        Bytes.
    md5 : str
        Of the manifest, 32 hexadecimal digits.
    """

    source: str
    destination: str
    size: int
    md5: str


@dataclass(frozen=True, slots=True)
class Submission:
    """One transfer task as it is, or will be, submitted; the same one again never makes a second task.

    Attributes
    ----------
    submission_id : str
        From `GlobusService.new_submission_id`, committed before the first submission.
    label : str
        By which a task is found again, see `document.label`.
    source_endpoint, destination_endpoint : str
        UUIDs of the collections.
    items : tuple of TransferItem
        In the order of the document.
    checksums : bool
        Globus compares the MD5 of every file with ours; false where the collection cannot compute it.
    probes : bool
        Nothing is expected and everything is copied, to learn the MD5 of every file.
    """

    submission_id: str
    label: str
    source_endpoint: str
    destination_endpoint: str
    items: tuple[TransferItem, ...]
    checksums: bool = True
    probes: bool = False


class TaskStatus(StrEnum):
    """What Globus says about a task; only SUCCEEDED is success."""

    ACTIVE = "ACTIVE"
    INACTIVE = "INACTIVE"  # suspended until somebody renews credentials
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Collection:
    """What Globus tells of a collection.

    Attributes
    ----------
    is_personal : bool
        Of Globus Connect Personal, which only its owner can use.
    connected, paused : bool or None
        None for those of a server, of which Globus does not know it.
    needs_consent : bool
        Whether a person must let us reach its data, beside logging in.
    """

    name: str
    is_personal: bool
    connected: bool | None
    paused: bool | None
    needs_consent: bool = False


@dataclass(frozen=True, slots=True)
class Task:
    """A task as one look found it.

    Attributes
    ----------
    task_id, label : str
        As submitted.
    status : TaskStatus
        A word that Globus may add one day is read as ACTIVE: look again later.
    files, files_transferred, files_skipped : int
        Of the task, copied so far, found equal so far.
    bytes_transferred : int
        Copied so far.
    skipped_errors : int
        Files left out because of errors; must be 0 with our options.
    faults : int
        Errors met so far; Globus goes on in spite of them.
    is_ok : bool or None
        Whether the last thing it did worked; None when it is finished.
    nice_status, nice_text : str
        A fault code, `OK` or `Queued`; one sentence about it.
    paused : bool
        By a rule of an endpoint's administrator.
    fatal_code, fatal_text : str
        Why it failed; empty unless it did.
    progress : int
        Grows while anything at all is done: a task whose progress stands still, and that is not ok, is stuck.
    cancelled_by_admin : str
        What the administrator of a collection who cancelled it says; empty unless one did.
    """

    task_id: str
    label: str
    status: TaskStatus
    files: int
    files_transferred: int
    files_skipped: int
    bytes_transferred: int
    skipped_errors: int
    faults: int
    is_ok: bool | None
    nice_status: str
    nice_text: str
    paused: bool
    fatal_code: str
    fatal_text: str
    progress: int
    cancelled_by_admin: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """One error event of a task: a stable code, and what is said about it, which names the file where there is one."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a directory of a collection."""

    name: str
    size: int
    is_file: bool


Listing = Mapping[str, Entry]
"""A directory of a collection: its entries by name."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """One file that a finished task copied, with the checksum Globus found; skipped files are never among them."""

    destination: str
    size: int
    checksum: str
    algorithm: str


_PROGRESS = ("bytes_transferred", "files_transferred", "files_skipped", "bytes_checksummed", "subtasks_succeeded")


def task_of(document: Mapping[str, Any]) -> Task:
    """Read a task document; what is missing, null or of another type counts as nothing.

    Documents differ between versions of the service and between running and finished tasks, so a field that is
    not there must never stop the others from being read.
    """
    fatal = document.get("fatal_error")
    fatal = fatal if isinstance(fatal, Mapping) else {}
    is_ok = document.get("is_ok")
    return Task(
        task_id=_text(document, "task_id"),
        label=_text(document, "label"),
        status=_status(_text(document, "status")),
        files=_number(document, "files"),
        files_transferred=_number(document, "files_transferred"),
        files_skipped=_number(document, "files_skipped"),
        bytes_transferred=_number(document, "bytes_transferred"),
        skipped_errors=_number(document, "subtasks_skipped_errors"),
        faults=_number(document, "faults"),
        is_ok=is_ok if isinstance(is_ok, bool) else None,
        nice_status=_text(document, "nice_status"),
        nice_text=_text(document, "nice_status_short_description"),
        paused=document.get("is_paused") is True,
        fatal_code=_text(fatal, "code"),
        fatal_text=_text(fatal, "description"),
        progress=sum(_number(document, name) for name in _PROGRESS),
        cancelled_by_admin=_cancelled_by_admin(document),
    )


def collection_of(document: Mapping[str, Any]) -> Collection:
    """Read what Globus tells of a collection."""
    kind = str(document.get("entity_type") or "")
    connected, paused = document.get("gcp_connected"), document.get("gcp_paused")
    return Collection(
        name=str(document.get("display_name") or document.get("id") or ""),
        is_personal=kind.startswith("GCP_"),
        connected=connected if isinstance(connected, bool) else None,
        paused=paused if isinstance(paused, bool) else None,
        needs_consent=kind == "GCSv5_mapped_collection" and not document.get("high_assurance"),
    )


def _cancelled_by_admin(document: Mapping[str, Any]) -> str:
    side = _text(document, "canceled_by_admin")
    if not side:
        return ""
    said = _text(document, "canceled_by_admin_message") or "no reason given"
    return f"by the administrator of the {side.lower()}: {said}"


def fault_of(document: Mapping[str, Any]) -> Fault:
    """Read an event; on one line, as it may become a message."""
    said = f"{_text(document, 'description')} {_text(document, 'details')}"
    return Fault(_text(document, "code"), " ".join(said.split()))


def pause_of(document: Mapping[str, Any]) -> str:
    """Read why a task is paused: what the rules, or the administrators of its collections, say."""
    rules = document.get("pause_rules")
    rules = [rule for rule in rules if isinstance(rule, Mapping)] if isinstance(rules, list) else []
    said = [_text(rule, "message") for rule in rules]
    said += [_text(document, name) for name in ("source_pause_message", "destination_pause_message")]
    return "; ".join(dict.fromkeys(filter(None, said)))


def entry_of(document: Mapping[str, Any]) -> Entry:
    """Read one row of a listing."""
    return Entry(_text(document, "name"), _number(document, "size"), document.get("type") == "file")


def arrived_of(document: Mapping[str, Any]) -> Arrived:
    """Read one row of the successful transfers."""
    return Arrived(
        destination=_text(document, "destination_path"),
        size=_number(document, "size"),
        checksum=_text(document, "checksum"),
        algorithm=_text(document, "checksum_algorithm"),
    )


def _status(word: str) -> TaskStatus:
    return TaskStatus(word) if word in tuple(TaskStatus) else TaskStatus.ACTIVE


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    return value if isinstance(value, str) else ""


def _number(document: Mapping[str, Any], name: str) -> int:
    value = document.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
