"""Who is there: what a scan found and did not find, written into the journal."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import NamedTuple

import structlog

from labferry.config import Detection
from labferry.detect.scan import ScanResult
from labferry.detect.signature import NOTHING_THERE, Signature, signal_present, take_signature
from labferry.engine.detection.roots import SIGNALS, RootState
from labferry.engine.detection.trouble import Kind, Trouble
from labferry.engine.history.meeting import past_of
from labferry.journal import Journal
from labferry.journal.backlog import ALL
from labferry.journal.rows import SessionRow
from labferry.model import folders_above, show_path
from labferry.sessions.session import Session

_log = structlog.get_logger()

MISSES_BEFORE_VANISHED = 2  # scans in a row
IN_TURN = 500  # old sessions that a scan looks at for a signal
FEW = 5  # so many sessions may disappear at once without alarm …
SHARE = 0.2  # … or this share of a root's sessions

Found = dict[bytes, Session]


class Judgement(NamedTuple):
    """What may be concluded from a scan.

    Attributes
    ----------
    trouble : Trouble or None
        Why nothing is concluded from what is missing; None when all is as it should be.
    frozen : bool
        And nothing from what is there either: it may be another disk.
    """

    trouble: Trouble | None = None
    frozen: bool = False


AS_EXPECTED = Judgement()


def wanted(state: RootState, result: ScanResult) -> Found:
    """Return the sessions that a scan found, by path, without those of subjects that are left out."""
    return {one.path: one for one in result.found if one.subject not in state.root.exclude_subjects}


def judge(state: RootState, result: ScanResult, *, accepted: bool = False) -> Judgement:
    """Say what may be concluded from a scan.

    A root that is gone, renamed or empty is left as it is, and so is another disk in its place, also where there were
    but few sessions and all of them are missing. Where many are missing from the disk that the root was on before,
    somebody may have tidied up: what is there is taken up, and what is missing waits for a person's word (`accepted`).
    """
    if result.problem:
        return Judgement(Trouble(Kind.AWAY, result.problem), frozen=True)
    if state.renamed:
        return Judgement(Trouble(Kind.RENAMED, state.renamed), frozen=True)
    present, missing = sum(there for _, there in state.known.values()), len(state.absent)
    if missing and _is_empty(state.path):
        why = f"the folder is empty and {missing} sessions were here: is the disk mounted?"
        return Judgement(Trouble(Kind.EMPTY, why), frozen=True)
    is_other_disk = device_of(state.path) != state.device
    many = missing > FEW and missing > SHARE * present
    if not accepted and (many or (missing == present > 0 and state.device is not None and is_other_disk)):
        why = f"{missing} of {present} sessions disappeared at once: is the disk mounted?"
        return Judgement(Trouble(Kind.MISSING, why), frozen=is_other_disk)
    return AS_EXPECTED


def absent(state: RootState, result: ScanResult, found: Found) -> frozenset[int]:
    """Return the ids of the sessions that should be there and were not found.

    What lies below a folder that could not be read is not missing: nobody knows.
    """
    closed = frozenset(one.path for one in result.unreadable)
    return frozenset(
        session_id
        for path, (session_id, there) in state.known.items()
        if there and path not in found and not _is_below(path, closed)
    )


def _is_below(path: bytes, folders: Collection[bytes]) -> bool:
    """Say whether a path lies below one of these folders."""
    return bool(folders) and any(folder in folders for folder in folders_above(path))


def device_of(root: bytes) -> int | None:
    """Return the number of the file system that a root is on; None when that cannot be told."""
    try:
        return os.stat(root).st_dev
    except OSError:
        return None


def _is_empty(root: bytes) -> bool:
    """Say whether a root has nothing in it, or cannot be looked into by now."""
    try:
        return not os.listdir(root)
    except OSError:
        return True


def meet_sessions(state: RootState, found: Found, journal: Journal, settings: Detection) -> None:
    """Tell the journal of sessions that are new, and of those that are back."""
    new = [
        (session, past_of(session, os.path.join(state.path, path), state.root, state.met_at, settings, SIGNALS))
        for path, session in found.items()
        if path not in state.known
    ]
    met: dict[bytes, tuple[int, bool]] = {}
    with journal.together():
        for session, past in new:
            session_id = journal.sessions.add(
                state.root.name,
                session.path,
                layout=state.root.layout,
                subject=session.subject,
                date=session.date.isoformat(),
                number=session.number,
                lab=session.lab,
                history=past.history,
                history_code=past.code,
                history_why=past.why,
            )
            if past.signalled:
                journal.sessions.signal(session_id, SIGNALS[0].decode())
            met[session.path] = (session_id, True)
    state.known |= met  # known is what was committed: a full disk takes all of them back
    for path in found:
        session_id, there = state.known[path]
        if not there:
            _take_back(session_id, os.path.join(state.path, path), journal)
            state.known[path] = (session_id, True)
    if new:
        old = sum(past.history is not None for _, past in new)
        first = show_path(new[0][0].path)
        _log.info("sessions_found", root=state.root.name, sessions=len(new), history=old, first=first)


def _take_back(session_id: int, folder: bytes, journal: Journal) -> None:
    """Tell the journal that a folder is there again; with other files it is another session under the same name.

    What was said of the one that was there before, its completion signal above all, says nothing about that one.
    """
    row = journal.sessions.get(session_id)
    is_another = False
    if row is not None and row.eid is None and row.signature is not None:
        signature = take_signature(folder)
        is_another = not signature.unreadable and signature.digest != row.signature
    with journal.together():
        journal.sessions.returned(session_id)
        if is_another:
            journal.sessions.begin_anew(session_id, "the folder was away and came back with other files")


def begins_anew(row: SessionRow, signature: Signature, folder: bytes, journal: Journal) -> bool:
    """Begin a session anew all of whose files are gone: its completion signal was theirs.

    That the signal is gone says nothing (ruling 4): files must have been there. Nor is anything forgotten while a
    signal is there: it may be that of what is to come.

    Parameters
    ----------
    row : SessionRow
    signature : Signature
        What is in its folder now.
    folder : bytes
        Absolute.
    journal : Journal
    """
    if signature.digest != NOTHING_THERE or row.signature in {None, NOTHING_THERE} or signal_present(folder, SIGNALS):
        return False
    if not journal.sessions.begin_anew(row.id, "all its files were removed before Alyx or an archive had any"):
        return False
    _log.info("emptied", root=row.root, session=show_path(row.path))
    return True


def miss_sessions(state: RootState, journal: Journal, *, accepted: bool = False) -> None:
    """Note what was not found; after two scans in a row, or on a person's word, a session has vanished."""
    for path, (session_id, _) in list(state.known.items()):
        if session_id not in state.absent:
            state.misses.pop(path, None)
            continue
        state.misses[path] = state.misses.get(path, 0) + 1
        if accepted or state.misses[path] >= MISSES_BEFORE_VANISHED:
            del state.misses[path]
            journal.sessions.vanished(session_id)
            state.known[path] = (session_id, False)
            _log.warning("session_vanished", root=state.root.name, session=show_path(path))


def remember_device(state: RootState, journal: Journal) -> None:
    """Remember on which file system a root is that has all that it should have."""
    device = device_of(state.path)
    if device is not None and device != state.device:
        journal.sessions.root_is_on(state.root.name, device)
        state.device = device


def notice_signals(state: RootState, journal: Journal, settings: Detection, *, all_of_them: bool) -> None:
    """Take up old sessions in which a completion signal appeared: somebody is at work there (rulings 2, 4).

    A look is one status call and there may be thousands: but for the hourly listing, each scan looks at a few of them,
    the next ones in turn. Where that call is one to another machine the listings have to do.
    """
    if state.blind and not all_of_them:
        return
    after, limit = (0, ALL) if all_of_them else (state.next_old, IN_TURN)
    some = journal.backlog.unsignalled(state.root.name, after, limit)
    state.next_old = max(some.values(), default=0) if len(some) == limit else 0
    for path, session_id in some.items():
        if path in state.known and signal_present(os.path.join(state.path, path), SIGNALS):
            take_up(state, path, session_id, journal, settings)


def take_up(state: RootState, path: bytes, session_id: int, journal: Journal, settings: Detection) -> None:
    """Latch the completion signal of an old session, and have it dealt with.

    Alyx is asked again about it; where it is not asked at all it is an ordinary session from now on.
    """
    with journal.together():
        journal.sessions.signal(session_id, SIGNALS[0].decode())
        journal.backlog.ask_again(session_id)
        if settings.history != "adopt" or not state.root.registers:
            journal.backlog.was_live(session_id)
    _log.info("signal_in_history", root=state.root.name, session=show_path(path))
