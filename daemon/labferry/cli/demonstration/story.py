"""What happened so far: one row per session and one line per transition, in words. No file, no clock, no network.

Room: cli. The rig, the daemon and the comparison tell it; the screen and the plain output show it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from labferry.cli import human
from labferry.errors import CODES
from labferry.model import JobKind, JobState, SessionState, Stage
from labferry.sandbox.rig import EventKind, RigEvent, RigSession

DAEMON = "daemon"
DONE_STATES = frozenset({SessionState.REGISTERED, SessionState.ARCHIVED})

_SETTLING = {
    "waiting_signal": "waits for the flag",
    "waiting_device": "waits for a device",
    "waiting_collection": "waits for a folder",
    "no_behaviour": "waits for a folder",
    "no_video": "waits for a folder",
    "waiting_size": "recording grows",
    "settling": "waits for quiet",
    "temporary_files": "files still grow",
    "signal_before_data": "flag before the data",
    "unreadable": "cannot be read",
}
_STAGES = {
    Stage.RESOLVE: "finding its lab",
    Stage.SEAL: "reading, MD5",
    Stage.REGISTER: "registering",
    Stage.ARCHIVE: "archiving",
}
_COPYING = {"in_batch": "waits for a transfer", "in_flight": "Globus copies it"}


class Tone(StrEnum):
    """How a word is meant."""

    QUIET = "quiet"
    BUSY = "busy"
    GOOD = "good"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Line:
    """A transition: who, and what became of it."""

    who: str
    text: str
    tone: Tone = Tone.QUIET


@dataclass(slots=True)
class Row:
    """One session, as the rig, the daemon and the comparison know it.

    Attributes
    ----------
    session : RigSession
        What the rig writes.
    files, size : int
        Written so far; `size` in bytes.
    started, recorded : bool
        The rig began; the flag is there.
    known : Mapping
        The daemon's `show.data`; empty before it found the session.
    compared : int or None
        Datasets compared with their source; None before that.
    lost : int
        Datasets that are not what the rig wrote.
    """

    session: RigSession
    files: int = 0
    size: int = 0
    started: bool = False
    recorded: bool = False
    known: Mapping[str, Any] = field(default_factory=dict)
    compared: int | None = None
    lost: int = 0

    @property
    def name(self) -> str:
        """Subject, date and number."""
        return self.session.relative

    @property
    def datasets(self) -> int:
        """How many files the rig writes that belong into Alyx."""
        return sum(file.registrable for file in self.session.files)

    @property
    def state(self) -> str:
        """The daemon's word for it; empty before it found it."""
        return str(self.known.get("state", ""))

    @property
    def is_blocked(self) -> bool:
        """Whether a person would have to act before it goes on."""
        return self.state != SessionState.ARCHIVED and any(
            job["state"] == JobState.BLOCKED for job in self.known.get("jobs", ())
        )

    @property
    def is_verified(self) -> bool:
        """Whether every dataset was compared and none is lost."""
        return self.compared == self.datasets and not self.lost

    def progress(self) -> float | None:
        """Return the share of its bytes that is in the archive; None before the archive has begun."""
        if self.state == SessionState.ARCHIVED:
            return 1.0
        transfers = self.known.get("transfers", ())
        total = sum(transfer["bytes_total"] for transfer in transfers)
        return sum(transfer["bytes_done"] for transfer in transfers) / total if total else None

    def words(self) -> tuple[str, Tone]:
        """Say where it stands and what it waits for."""
        if self.compared is not None:
            return self._compared_words()
        if not self.started:
            return "not begun", Tone.QUIET
        match self.state:
            case SessionState.ARCHIVED:
                return "archived", Tone.GOOD
            case SessionState.SETTLING:
                code = (self.known.get("waits") or {}).get("code", "")
                words = _SETTLING.get(code, "recording")
                # The rig may have finished since the daemon looked.
                return ("waits for quiet" if self.recorded else words), Tone.QUIET
            case SessionState.COMPLETE | SessionState.REGISTERED:
                return self._work_words()
            case "":
                return "recording", Tone.QUIET
            case other:
                return str(other), Tone.WARN

    def _compared_words(self) -> tuple[str, Tone]:
        if self.lost:
            return f"{self.lost} lost", Tone.BAD
        if self.is_verified:
            return "verified", Tone.GOOD
        return f"verifying {self.compared}/{self.datasets}", Tone.BUSY

    def _work_words(self) -> tuple[str, Tone]:
        live = [
            job for job in self.known.get("jobs", ()) if job["state"] in {"queued", "running", "waiting", "blocked"}
        ]
        if not live:
            return str(self.state), Tone.BUSY
        job = live[0]
        if job.get("code") in _COPYING and job["state"] == JobState.WAITING:
            return _COPYING[job["code"]], Tone.BUSY
        if job["state"] in {JobState.WAITING, JobState.BLOCKED} and job.get("code"):
            tone = Tone.BAD if job["state"] == JobState.BLOCKED else Tone.WARN
            return title(job["code"]), tone
        return _STAGES.get(job.get("stage"), str(job["kind"])), Tone.BUSY


class Story:
    """All sessions of one demo, in the order in which the rig begins them."""

    def __init__(self, sessions: Sequence[RigSession]) -> None:
        self.rows = {session.relative: Row(session) for session in sessions}

    def count(self, state: str) -> int:
        """Return how many sessions are in a state."""
        return sum(row.state == state for row in self.rows.values())

    @property
    def recorded(self) -> int:
        """How many sessions the rig finished."""
        return sum(row.recorded for row in self.rows.values())

    @property
    def registered(self) -> int:
        """How many sessions are in Alyx."""
        return sum(row.state in DONE_STATES for row in self.rows.values())

    @property
    def archived(self) -> int:
        """How many sessions are in the archive."""
        return self.count(SessionState.ARCHIVED)

    @property
    def verified(self) -> int:
        """How many sessions were compared, and nothing of them is lost."""
        return sum(row.is_verified for row in self.rows.values())

    # --- what is told -------------------------------------------------------------------------------------

    def recording(self, event: RigEvent) -> Iterator[Line]:
        """Take in what the rig did."""
        row = self.rows[event.session.relative]
        row.started = True
        if event.kind is EventKind.FILE_WRITTEN and event.file is not None:
            row.files += 1
            row.size += event.file.size
        if event.kind is EventKind.FLAG_WRITTEN:
            row.recorded = True
            yield Line(row.name, f"recorded: {human.plural(row.files, 'file')}, {human.size(row.size)}, flag written")

    def found(self, shown: Mapping[str, Any]) -> None:
        """Take in what the daemon knows of a session; others than the rig's are left out."""
        row = self.rows.get(session_name(shown))
        if row is not None:
            row.known = shown

    def event(self, name: str, event: Mapping[str, Any]) -> Iterator[Line]:
        """Take in an event of the daemon's journal about the session of this name."""
        row = self.rows.get(name)
        line = row and _line(row, event)
        if line:
            yield line

    def compared(self, name: str, problem: str) -> Iterator[Line]:
        """Take in that one dataset was compared; `problem` is empty when it is what the rig wrote."""
        row = self.rows[name]
        row.compared = (row.compared or 0) + 1
        if problem:
            row.lost += 1
        if problem and row.lost == 1:
            yield Line(name, problem, Tone.BAD)
        if row.lost and row.compared == row.datasets:
            yield Line(name, f"not verified: {row.lost} of {human.plural(row.datasets, 'dataset')} lost", Tone.BAD)
        if row.is_verified:
            yield Line(name, f"verified: {human.plural(row.compared, 'dataset')} equal to their source", Tone.GOOD)


def session_name(shown: Mapping[str, Any]) -> str:
    """Return how the rig calls the session that the daemon shows."""
    return f"{shown['subject']}/{shown['date']}/{shown['number']:03d}"


def title(code: str) -> str:
    """Return a reason code in words."""
    return CODES[code].title if code in CODES else code


def _line(row: Row, event: Mapping[str, Any]) -> Line | None:
    """Return the line for an event; None for those that are no news."""
    action, to, code = event["action"], event["to"], event["code"]
    files = row.known.get("files") or {}
    if action == "found":
        return Line(row.name, f"settling: found, waits {'for quiet' if row.recorded else 'for raw_session.flag'}")
    if action == "complete":
        return Line(row.name, "complete: flag there, nothing changes now")
    if action == "changed":
        return Line(row.name, "settling: it changed again", Tone.WARN)
    if action in {"vanished", "held"}:
        return Line(row.name, str(action), Tone.WARN)
    if to == JobState.BLOCKED:
        return Line(row.name, f"needs a person: {title(code)}", Tone.BAD)
    if code in _COPYING:
        submitted = code == "in_flight" and event["from"] == JobState.WAITING
        return Line(row.name, f"submitted: {_cargo(row)}, to Globus", Tone.BUSY) if submitted else None
    if to == JobState.WAITING:
        return Line(row.name, f"waits: {title(code)}", Tone.WARN)
    if (action, to) == ("transfer", "verified"):
        return Line(row.name, "copied: sizes and MD5 are those of the source", Tone.BUSY)
    if to != JobState.DONE:
        return None
    if action == JobKind.REGISTER:
        return Line(row.name, f"registered: {human.plural(files.get('datasets', 0), 'dataset')} in Alyx", Tone.BUSY)
    if action == JobKind.ARCHIVE:
        return Line(row.name, f"archived: {human.plural(files.get('archived', 0), 'file')}, known to Alyx", Tone.GOOD)
    return None


def _cargo(row: Row) -> str:
    """Say how much the latest transfer of a session carries."""
    transfer = (row.known.get("transfers") or [{}])[-1]
    return f"{human.plural(transfer.get('files_total', 0), 'file')}, {human.size(transfer.get('bytes_total', 0))}"
