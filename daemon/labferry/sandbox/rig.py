"""Sandbox: a recording rig. It writes session folders the way an acquisition computer does.

Slowly, file by file in no particular order, in pieces, some through temporary names, and the flag last. It
writes below the root it is given and nowhere else, and never into a folder that is already there.
"""

from __future__ import annotations

import datetime as dt
import os
import random
import re
import string
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from pathlib import Path

from labferry.errors import LabferryError
from labferry.model import Clock, SystemClock
from labferry.sandbox.rig_session import (
    DEFAULT_SUBJECTS,
    FLAG_NAME,
    Kind,
    RigFile,
    RigSession,
    plan_session,
)

__all__ = [
    "DEFAULT_KINDS",
    "DEFAULT_SUBJECTS",
    "FLAG_NAME",
    "EventKind",
    "Kind",
    "Rig",
    "RigEvent",
    "RigFile",
    "RigSession",
    "plan_session",
    "write_session",
]

DEFAULT_KINDS = (Kind.TRAINING, Kind.BIASED, Kind.EPHYS)
_AT_ONCE = 2  # sessions on one rig server, and files within a session, that grow side by side
_PIECES_PER_S = 10  # a slow writer still writes this often
_PIECE = 65536  # bytes written at once when nothing slows the writer down


class EventKind(StrEnum):
    """What the rig has just done."""

    SESSION_STARTED = "session_started"
    FILE_WRITTEN = "file_written"
    FLAG_WRITTEN = "flag_written"


@dataclass(frozen=True, slots=True)
class RigEvent:
    """Something the rig has just done; `folder` is the session's, `file` is set for a written file."""

    kind: EventKind
    session: RigSession
    folder: Path
    file: RigFile | None = None


OnEvent = Callable[[RigEvent], None]


def write_session(
    root: str | Path,
    session: RigSession,
    *,
    rate: float | None = None,
    clock: Clock | None = None,
    sleep: Callable[[float], None] = time.sleep,
    on_event: OnEvent | None = None,
) -> Path:
    """Write one session below `root`, its flag last, and return its folder.

    Parameters
    ----------
    rate : float or None
        Bytes per second; None writes as fast as the disk takes it.
    clock, sleep
        Where time comes from and how it is spent.
    on_event
        Called after every step that `EventKind` names.

    Raises
    ------
    LabferryError
        The folder exists already (`session_exists`), or the disk refuses (`rig_cannot_write`).
    """
    _run(Path(root), (session,), 1, _Pace(rate, clock or SystemClock(), sleep), on_event)
    return Path(root) / session.relative


class Rig:
    """A rig server that records several sessions, two at once, so that they do not finish in their order.

    Parameters
    ----------
    root : str or Path
        An existing directory.
    subjects : mapping of str to str
        Subject → lab.
    sessions : int
        How many; subjects and kinds are taken by turns.
    kinds : sequence of str
        See `Kind`.
    today : date or None
        Sessions are dated the day before, so that no clock of any time zone sees one in the future.
    seed, scale
        See `plan_session`.
    rate, clock, sleep, on_event
        See `write_session`; the rate is that of all sessions together.

    Attributes
    ----------
    sessions : tuple of RigSession
        What will be written, planned when the rig is made: each has the next free number of its subject's day.

    Raises
    ------
    LabferryError
        `root` is not a directory (`rig_no_root`) or not writable (`rig_cannot_write`).
    ValueError
        There is no subject or no kind, or one of them cannot be part of a session.
    """

    def __init__(
        self,
        root: str | Path,
        subjects: Mapping[str, str] = DEFAULT_SUBJECTS,
        *,
        sessions: int = 5,
        kinds: Sequence[str] = DEFAULT_KINDS,
        seed: int = 0,
        scale: float = 1.0,
        rate: float | None = None,
        today: dt.date | None = None,
        clock: Clock | None = None,
        sleep: Callable[[float], None] = time.sleep,
        on_event: OnEvent | None = None,
    ) -> None:
        if not subjects or not kinds:
            raise ValueError("a rig needs a subject and a kind of session")
        self.root = Path(root)
        _check_root(self.root)
        self._clock = clock or SystemClock()
        self._pace = _Pace(rate, self._clock, sleep)
        self._on_event = on_event
        day = (today or dt.date.fromtimestamp(self._clock.now())) - dt.timedelta(days=1)
        self.sessions = tuple(self._plan(subjects, kinds, day, sessions, seed=seed, scale=scale))

    def run(self) -> tuple[RigSession, ...]:
        """Write all sessions and return them in the order in which their flags appeared.

        Raises
        ------
        LabferryError
            See `write_session`. Sessions without a flag stay behind unfinished, as a real rig leaves them.
        """
        return _run(self.root, self.sessions, _AT_ONCE, self._pace, self._on_event)

    def _plan(
        self,
        subjects: Mapping[str, str],
        kinds: Sequence[str],
        day: dt.date,
        count: int,
        *,
        seed: int,
        scale: float,
    ) -> Iterator[RigSession]:
        names = list(subjects)
        free = {name: _next_number(self.root / name / day.isoformat()) for name in names}
        for index in range(count):
            name, kind = names[index % len(names)], kinds[index % len(kinds)]
            yield plan_session(name, subjects[name], day, free[name], kind, seed=seed, scale=scale)
            free[name] += 1


class _Pace:
    """Keeps all writers together at a rate."""

    def __init__(self, rate: float | None, clock: Clock, sleep: Callable[[float], None]) -> None:
        self._rate = rate
        self._clock = clock
        self._sleep = sleep
        self._due = clock.monotonic()
        self.piece = _PIECE if rate is None else max(1, min(_PIECE, int(rate / _PIECES_PER_S)))

    def spend(self, count: int) -> None:
        """Return when `count` more bytes are allowed to have been written."""
        if self._rate is None:
            return
        # A pause of the caller is not made up for by a burst: the budget starts anew.
        self._due = max(self._due, self._clock.monotonic() - 1.0) + count / self._rate
        ahead = self._due - self._clock.monotonic()
        if ahead > 0:
            self._sleep(ahead)


def _run(
    root: Path, sessions: Iterable[RigSession], at_once: int, pace: _Pace, on_event: OnEvent | None
) -> tuple[RigSession, ...]:
    finished: list[RigSession] = []

    def note(event: RigEvent) -> None:
        if event.kind is EventKind.FLAG_WRITTEN:
            finished.append(event.session)
        if on_event is not None:
            on_event(event)

    try:
        for written in _by_turns((_write(root, session, pace.piece, note) for session in sessions), at_once):
            pace.spend(written)
    except OSError as error:
        raise _cannot_write(error.filename or root, error) from error
    return tuple(finished)


def _by_turns(writers: Iterable[Iterator[int]], at_once: int) -> Iterator[int]:
    """Advance `at_once` writers side by side, the later ones faster, so that they overtake the earlier ones."""
    waiting = iter(writers)
    running = list(islice(waiting, at_once))
    while running:
        for turns, writer in enumerate(tuple(running), start=1):
            written = list(islice(writer, turns))
            yield from written
            if len(written) < turns:
                running.remove(writer)
                running.extend(islice(waiting, 1))


def _write(root: Path, session: RigSession, piece: int, note: OnEvent) -> Iterator[int]:
    """Write one session; yield the number of bytes after each piece."""
    folder = root / session.relative
    try:
        folder.mkdir(parents=True)
    except FileExistsError as error:
        raise LabferryError(
            "session_exists", f"{folder} is already there", "The rig never writes into an existing session."
        ) from error
    note(RigEvent(EventKind.SESSION_STARTED, session, folder))
    rng = random.Random(session.relative)

    def write_file(file: RigFile) -> Iterator[int]:
        yield from _write_file(folder, file, piece, rng)
        note(RigEvent(EventKind.FILE_WRITTEN, session, folder, file))

    shuffled = rng.sample(session.files, len(session.files))
    yield from _by_turns((write_file(file) for file in shuffled), _AT_ONCE)
    (folder / FLAG_NAME).touch(exist_ok=False)
    note(RigEvent(EventKind.FLAG_WRITTEN, session, folder))


def _write_file(folder: Path, file: RigFile, piece: int, rng: random.Random) -> Iterator[int]:
    target = folder / file.path
    target.parent.mkdir(parents=True, exist_ok=True)
    growing = target.with_name(_growing_name(target.name, rng))
    with open(growing, "xb", buffering=0) as stream:
        for block in file.pieces(piece):
            stream.write(block)
            yield len(block)
    if growing != target:
        os.rename(growing, target)


def _growing_name(name: str, rng: random.Random) -> str:
    """Return the name under which a file grows: its own, rsync's, or that of a copying program."""
    copied = "".join(rng.choices(string.ascii_letters + string.digits, k=6))
    return rng.choice((name, name, f".{name}.{copied}", f"{name}.part"))


def _next_number(day: Path) -> int:
    """Return the number after the highest that the subject's folder of this day holds."""
    try:
        names = os.listdir(day)
    except OSError:  # nothing there yet, or not to be seen: making the session's folder will tell which
        return 1
    return 1 + max((int(name) for name in names if re.fullmatch(r"\d{1,3}", name, re.ASCII)), default=0)


def _check_root(root: Path) -> None:
    if not root.is_dir():
        raise LabferryError("rig_no_root", f"{root} is not a directory", "Create it, or give another --root.")
    if not os.access(root, os.W_OK | os.X_OK):
        raise _cannot_write(root, PermissionError("Permission denied"))


def _cannot_write(place: str | Path, error: OSError) -> LabferryError:
    return LabferryError(
        "rig_cannot_write",
        f"cannot write to {place}: {error.strerror or error}",
        "Make room or give write permission, or give another --root.",
    )
