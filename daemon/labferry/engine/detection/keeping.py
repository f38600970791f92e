"""Completion is not the end: sessions that were complete stay under watch, for what is added or changed (ruling 1).

A look at the times of a session's folders costs a status call per folder. Only where one of them is new, or when its
turn has come, every file is compared with the manifest. What must be dealt with goes back to settling and becomes the
next generation there; the rest is noted. A folder that is closed to us takes nothing back of what was reached: a person
is asked to open it, and what else is new waits for that (ruling 22).
"""

from __future__ import annotations

import contextlib
import heapq
import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import structlog

from labferry.config import ArchiveTarget
from labferry.detect import cadence
from labferry.detect.cadence import Due
from labferry.detect.difference import Difference, Listed, compare
from labferry.detect.foldertimes import Folders, FolderTimes, folder_times
from labferry.detect.signature import Signature, take_signature
from labferry.engine.detection.agenda import Kept
from labferry.engine.detection.attendance import begins_anew
from labferry.engine.detection.overtaking import Work, work_on
from labferry.engine.detection.roots import RECENT, RootState
from labferry.engine.seal import carriers
from labferry.errors import UnavailableError
from labferry.journal import Journal, JournalError
from labferry.journal.backlog import CHANGED
from labferry.journal.rows import SessionRow
from labferry.model import Clock, History, show_path
from labferry.sessions.walk import WalkedFile

ROLL_CALL_EVERY = cadence.HOUR
VISIT_EVERY = 30.0  # seconds between two rounds of looks
ROUND = 0.1  # seconds of work in a round, for hints must not wait; the rest of what is due has the next one …
PAUSE = 1.0  # … so many seconds later
SOON = 10 * cadence.MINUTE  # to the next look at a session that is being worked on, or written to
HINT_CALM = 2.0  # seconds from a hint to the look: more may be on the way
_log = structlog.get_logger()


class Seen(NamedTuple):
    """A look at every file of a session, as the journal takes it: `signature` only where it is another one now."""

    session_id: int
    folders: bytes
    signature: bytes | None


class Keeping:
    """Looks at sessions that were complete.

    Parameters
    ----------
    journal : Journal
    clock : Clock
    archives : mapping of str to ArchiveTarget
        Those of the configuration.
    stopping : callable
        Says whether the daemon stops.
    """

    def __init__(
        self, journal: Journal, clock: Clock, archives: Mapping[str, ArchiveTarget], stopping: Callable[[], bool]
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._archives = archives
        self._stopping = stopping
        self._shapes: dict[Folders, Folders] = {}  # most sessions have the same folders: each set is kept once

    # --- who is under watch -------------------------------------------------------------------------------

    def _call_the_roll(self, state: RootState) -> None:
        """Put what the journal has as complete under watch, each with a turn of its own; now and then, as a whole."""
        now, today = self._clock.monotonic(), self._clock.now()
        for row in self._journal.revisits.of_root(state.root.name):
            if row.path in state.kept or row.path in state.tracked or row.path not in state.known:
                continue
            seen = None if row.looked_at is None else today - row.looked_at
            due = cadence.first(row.id, today - row.since, seen, now)
            state.kept[row.path] = Kept(row.id, row.since, due, row.folders)
            state.agenda.note(row.path)
        if not state.recent:
            newest = heapq.nlargest(RECENT, state.kept, key=lambda path: state.kept[path].since)
            for path in reversed(newest):
                self._want_hints(state, path, state.kept[path])
        state.next_roll_call = now + ROLL_CALL_EVERY

    def take(self, state: RootState, path: bytes, session_id: int) -> None:
        """Put a session that is complete now under watch."""
        now = self._clock.monotonic()
        kept = Kept(session_id, self._clock.now(), cadence.first(session_id, 0.0, None, now))
        state.kept[path] = kept
        state.agenda.note(path)
        self._want_hints(state, path, kept)

    def _want_hints(self, state: RootState, path: bytes, kept: Kept) -> None:
        """Have all folders of a session watched, as one of those that were complete last."""
        with contextlib.suppress(OSError):
            kept.folders = self._shape(folder_times(os.path.join(state.path, path)))
        if path in state.recent:
            state.recent.remove(path)
        state.recent.append(path)

    def _shape(self, times: FolderTimes) -> Folders:
        return self._shapes.setdefault(times.folders, times.folders)

    def hint(self, state: RootState, path: bytes) -> None:
        """Look soon at a session in which something was touched; a session is only once in a hurry."""
        kept, soon = state.kept[path], self._clock.monotonic() + HINT_CALM
        if kept.due.times > soon:
            kept.due = Due(soon, soon)
            state.agenda.note(path)
            state.next_visit = min(state.next_visit, soon)

    def hurry(self, state: RootState) -> None:
        """Look at all files of all sessions as soon as possible, as an operator asked for; from any thread."""
        for kept in list(state.kept.values()):
            kept.due = Due(0.0, 0.0)
        state.agenda.doubt()
        state.next_roll_call = state.next_visit = 0.0

    # --- looking ------------------------------------------------------------------------------------------

    def visit(self, state: RootState, beat: Callable[[str, float], None]) -> None:
        """Look at the sessions whose turn it is, for no longer than a round."""
        now = self._clock.monotonic()
        if now < state.next_visit:
            return
        state.next_visit = now + VISIT_EVERY
        if state.facts.frozen:
            return
        if now >= state.next_roll_call:
            self._call_the_roll(state)
        began = time.perf_counter()
        seen: list[Seen] = []
        while not self._stopping():
            if time.perf_counter() - began >= ROUND:
                state.next_visit = now + PAUSE
                break
            path = state.agenda.next(now)
            if path is None:
                break
            beat(f"looking again at {show_path(path)}", 600.0)
            try:
                self._look(state, path, seen)
            except (UnavailableError, JournalError):
                raise
            except Exception:  # of our own: the others must be looked at all the same
                log = _log.bind(root=state.root.name, session=show_path(path))
                log.exception("unexpected")
                if path in state.kept:
                    state.kept[path].due = Due(now + cadence.HOUR, now + cadence.HOUR)
            finally:
                if path in state.kept:
                    state.agenda.note(path)
        if seen:
            with self._journal.together():
                for look in seen:
                    self._journal.revisits.looked(*look)

    def _look(self, state: RootState, path: bytes, seen: list[Seen]) -> None:
        """Look at one session: at the times of its folders, and only if need be at its files."""
        kept, now = state.kept[path], self._clock.monotonic()
        folder = os.path.join(state.path, path)
        kept.due = cadence.after(kept.id, self._clock.now() - kept.since, kept.due, now, files=False)
        try:
            times = _times(folder, kept)
        except (FileNotFoundError, NotADirectoryError):
            return  # gone, or going: the scans tell
        except OSError as error:
            row = self._journal.sessions.get(kept.id)
            if row is not None and _is_kept(row) and row.vanished_at is None:
                self._tell_closed(row, b"", error.strerror or str(error))
                _look_again_within_the_hour(kept, now)
            return
        kept.folders = self._shape(times)
        if times.digest == kept.digest and now < kept.due.files:
            return
        row = self._journal.sessions.get(kept.id)
        if row is None or not _is_kept(row):
            del state.kept[path]
            return
        work = self._work_on(row)
        if row.held_at is not None or row.vanished_at is not None or work is Work.GOES_ON:
            kept.due = Due(now + SOON, kept.due.files)
            return
        walked: list[WalkedFile] = []
        signature = take_signature(folder, onlooker=walked.append)
        if not signature.files and self._begins_anew(row, signature, folder):
            self._let_go(state, path)
            return
        listed = (Listed(*one) for one in self._journal.revisits.listed(kept.id))
        difference = Difference() if _waits_as_it_was(row, signature) else compare(walked, listed)
        is_unclear = work is Work.WAITS and bool(difference.removed)
        if is_unclear:  # whether it is a loss is known when the archive has, or has not, got it
            difference.removed.clear()
        if not self._act(state, path, row, difference) or (difference.unfinished and not difference.is_news):
            kept.due = Due(now + SOON, kept.due.files)
            return
        if is_unclear:
            return
        kept.due = cadence.after(kept.id, self._clock.now() - kept.since, kept.due, now, files=True)
        if signature.unreadable:
            _look_again_within_the_hour(kept, now)
            return
        kept.digest = times.digest
        is_new = not difference.is_news and signature.digest != row.signature
        seen.append(Seen(kept.id, times.digest, signature.digest if is_new else None))

    def _work_on(self, row: SessionRow) -> Work:
        return work_on(self._journal, row.id, self._clock.now())

    def _begins_anew(self, row: SessionRow, signature: Signature, folder: bytes) -> bool:
        """Begin an emptied session anew, unless a lane took it up since it was looked at."""
        with self._journal.together():
            return self._work_on(row) is not Work.GOES_ON and begins_anew(row, signature, folder, self._journal)

    def _act(self, state: RootState, path: bytes, row: SessionRow, difference: Difference) -> bool:
        """Send a session with news back to settling; note what calls for nothing.

        False where a lane took up the session since it was looked at: then it is not sent back.
        """
        name = show_path(path)
        if difference.noted or difference.removed:
            removed = [file_id for file_id, _ in difference.removed]
            wanted_by = partial(carriers, root=state.root, archives=self._archives)
            self._journal.revisits.note(row.id, difference.noted, removed, wanted_by)
        if difference.removed:
            first = show_path(difference.removed[0][1])
            _log.info("files_removed", root=row.root, session=name, files=len(difference.removed), first=first)
        if difference.closed:
            self._tell_closed(row, *difference.closed[0])
        elif row.closed_folder is not None:
            self._journal.revisits.opened(row.id)
            _log.info("folder_opened", root=row.root, session=name, folder=show_path(row.closed_folder))
        if difference.closed or not difference.is_news:
            return True
        why = difference.sentence()
        with self._journal.together():
            if self._work_on(row) is Work.GOES_ON:
                return False
            if row.history is History.ADOPTED:
                self._journal.backlog.release(row.id, CHANGED)
            else:
                self._journal.sessions.unsettle(row.id, why)
        _log.info("changed", root=row.root, session=name, why=why)
        self._let_go(state, path)
        return True

    def _let_go(self, state: RootState, path: bytes) -> None:
        """Leave a session to those who follow what is not complete."""
        del state.kept[path]
        state.next_scan = min(state.next_scan, self._clock.monotonic())

    def _tell_closed(self, row: SessionRow, folder: bytes, why: str) -> None:
        """Say that a folder of a session (empty: its own) is closed to us; once, as long as it is the same one."""
        if self._journal.revisits.closed(row.id, folder, why):
            name = show_path(row.path)
            _log.warning("folder_closed", root=row.root, session=name, folder=show_path(folder), why=why)


def _times(folder: bytes, kept: Kept) -> FolderTimes:
    """Look at the folders that were there; only where that shows something new, list them again."""
    if kept.folders:
        with contextlib.suppress(OSError):
            times = folder_times(folder, kept.folders)
            if times.digest == kept.digest:
                return times
    return folder_times(folder)


def _look_again_within_the_hour(kept: Kept, now: float) -> None:
    """Have a session looked at again of which a part was closed, however old it is: a person was asked to open it."""
    kept.digest = None  # the times must not be taken for seen
    kept.due = Due(min(kept.due.times, now + cadence.HOUR), kept.due.files)


def _waits_as_it_was(row: SessionRow, signature: Signature) -> bool:
    """Say whether a session that no manifest tells of yet is what it was when it was complete.

    Its job is blocked, or an operator cancelled it: that holds for what was complete then (ruling 21).
    """
    return row.sealed_generation < row.generation and signature.digest == row.signature


def _is_kept(row: SessionRow) -> bool:
    """Say whether a session is one that stays under watch."""
    return row.history is History.ADOPTED if row.history is not None else row.complete_at is not None
