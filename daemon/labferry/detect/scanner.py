"""The shallow scan again and again: only folders that changed since are listed, which is seen by their times.

Room: detect. Lists folders and asks for their status; writes nothing. A folder's own times tell whether anything was
made, removed or renamed in it, and cost an eighth of a listing; that nothing changed is then known without a step for
each session. A folder that was written to a moment ago is listed again, because the system's clock is not fine enough
to tell two changes apart.

Even so much would grow with a lab's history. Beyond a few thousand folders of sessions, only the newest ones are asked
at every scan, and of the others one half, then the other: a session that is put beside old ones, into a day that is not
among the newest any more and that no event tells of, is found by the second scan at the latest instead of the first.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from labferry.detect.scan import NearMiss, ScanResult, Unreadable, list_level, note_unreadable, scan
from labferry.sessions.layout import Layout, Level
from labferry.sessions.session import Session

NEWEST = 500  # folders of sessions that are asked at every scan: those with the latest names, which are days …
FEW = 2500  # … or all, as long as there are so few of them …
ROUNDS = 2  # … else each of the others once in so many scans
YOUNG = 2_000_000_000  # nanoseconds since a change, in which there may be another one that looks like it


@dataclass(slots=True)
class _Folder:
    """What a folder above the sessions held when it was listed.

    Attributes
    ----------
    level : Level
        What the grammar says about it.
    signature : int or None
        Of its times before that; None when they are not to be believed.
    below : tuple of bytes
        The paths of the folders in it that are not sessions.
    sessions : tuple of bytes
        The names of those that are.
    near_misses : tuple of NearMiss
        The first of them; `near_miss_count` counts all.
    unreadable : Unreadable or None
        Why it could not be listed.
    """

    level: Level
    signature: int | None
    below: tuple[bytes, ...] = ()
    sessions: tuple[bytes, ...] = ()
    near_misses: tuple[NearMiss, ...] = ()
    near_miss_count: int = 0
    unreadable: Unreadable | None = None

    def shows_what(self, other: _Folder) -> bool:
        """Say whether two listings show the same."""
        mine = self.below, self.sessions, self.near_misses, self.near_miss_count, self.unreadable
        return mine == (other.below, other.sessions, other.near_misses, other.near_miss_count, other.unreadable)


class Scanned(NamedTuple):
    """A scan: what it saw, None where that is what the one before saw, and its duration in seconds."""

    result: ScanResult | None
    seconds: float


class Scanner:
    """Scans one root.

    Parameters
    ----------
    root : bytes
        Absolute path of the root, which may be a symbolic link.
    layout : Layout
    remembers : bool
        Believe the folders' times. False where they come from another machine, or from its cache.
    """

    def __init__(self, root: bytes, layout: Layout, *, remembers: bool = True) -> None:
        self._root = root
        self._layout = layout
        self._remembers = remembers
        self._folders: dict[bytes, _Folder] = {}
        self._always: list[bytes] = []
        self._in_turn: list[list[bytes]] = [[] for _ in range(ROUNDS)]
        self._round = 0
        self._hinted: set[bytes] = set()
        self._names: dict[bytes, bytes] = {}  # `001` is kept once, not once per day
        self._listed: dict[bytes, list[Session]] = {}  # in this scan: what need not be parsed again

    def hint(self, path: bytes) -> None:
        """Ask a folder at the next scan, whosever turn it is; `path` is relative to the root."""
        if self._remembers:
            self._hinted.add(path)

    def scan(self, *, afresh: bool = False, again: bool = False) -> Scanned:
        """Find every session folder below the root; never raises for what is on disk.

        Parameters
        ----------
        afresh : bool
            List every folder, whatever its times say.
        again : bool
            Tell what is there even if it is what was there before.
        """
        began = time.perf_counter()
        result = self._scan(afresh, again) if self._remembers else scan(self._root, self._layout)
        seconds = time.perf_counter() - began
        if result is not None:
            result.seconds = seconds
        return Scanned(result, seconds)

    def _scan(self, afresh: bool, again: bool) -> ScanResult | None:
        if afresh:
            self._folders.clear()
        try:
            return self._gather() if self._look() or again else None
        except OSError as error:  # the root itself
            self._folders.clear()
            result = ScanResult()
            note_unreadable(self._root, b"", error, result)
            return result
        finally:
            self._listed.clear()

    # --- looking ------------------------------------------------------------------------------------------

    def _look(self) -> bool:
        """List what is not known or has changed; return whether that showed anything new."""
        if not self._folders:
            self._list_below(self._layout.top())
            return True
        changed = False
        for folder in self._in_doubt():
            if self._folders.get(folder.level.path) is folder:  # else it went, or was listed, with one further up
                changed |= self._list_below(folder.level)
        return changed

    def _in_doubt(self) -> list[_Folder]:
        """Return the folders in which something was changed, or may have been, as far as it is their turn.

        Raises
        ------
        OSError
            The root is gone.
        """
        self._round = (self._round + 1) % ROUNDS
        since = time.time_ns() - YOUNG
        root = os.open(self._root, os.O_PATH | os.O_DIRECTORY)  # from it on, the way to a folder is short
        found = []
        try:
            for path in chain(self._always, self._hinted, self._in_turn[self._round]):
                folder = self._folders.get(path)
                if folder is not None and (
                    folder.signature is None or folder.signature != _signature(path or b".", root, since)
                ):
                    found.append(folder)
        finally:
            os.close(root)
        self._hinted.clear()
        return found

    def _list_below(self, top: Level) -> bool:
        """List a folder, and what is not known below it; return whether that showed anything new.

        Raises
        ------
        OSError
            The root cannot be listed.
        """
        changed = False
        waiting = [top]
        while waiting:
            level = waiting.pop()
            folder, levels = self._list(level)
            before = self._folders.get(level.path)
            if folder is None:
                self._forget(level.path)
                self._doubt(level.path.rpartition(b"/")[0])
                changed = True
                continue
            self._folders[level.path] = folder
            if before is None or not before.shows_what(folder):
                changed = True
                for gone in set(before.below if before else ()) - set(folder.below):
                    self._forget(gone)
            waiting += [one for one in levels if one.path not in self._folders]
        return changed

    def _list(self, level: Level) -> tuple[_Folder | None, list[Level]]:
        """List one folder, and return the folders in it that are not sessions; None for one that is gone."""
        # Asked before: what is made while we list shows at the next scan.
        signature = _signature(self._root + b"/" + level.path, None, time.time_ns() - YOUNG)
        seen, levels = ScanResult(), list[Level]()
        try:
            list_level(self._root, level, levels, seen)
        except OSError as error:
            if not level.path:
                raise
            note_unreadable(self._root, level.path, error, seen)
            gone = not seen.unreadable
            return (None if gone else _Folder(level, None, unreadable=seen.unreadable[0])), []
        self._listed[level.path] = seen.found
        start = len(level.path) + 1 if level.path else 0
        sessions = [one.path[start:] for one in seen.found]
        folder = _Folder(
            level,
            signature,
            tuple([one.path for one in levels]),
            tuple([self._names.setdefault(name, name) for name in sessions]),
            tuple(seen.near_misses),
            seen.near_miss_count,
        )
        return folder, levels

    def _doubt(self, path: bytes) -> None:
        """List a folder again at the next scan: it lists one that was not there a moment ago, and may be again."""
        folder = self._folders.get(path)
        if folder is not None:
            folder.signature = None

    def _forget(self, path: bytes) -> None:
        waiting = [path]
        while waiting:
            folder = self._folders.pop(waiting.pop(), None)
            if folder is not None:
                waiting += folder.below

    # --- telling ------------------------------------------------------------------------------------------

    def _gather(self) -> ScanResult:
        """Put together what all folders hold, and which of them are asked when from now on."""
        result, leaves = ScanResult(), list[bytes]()
        self._always = []
        waiting = [b""]
        while waiting:
            path = waiting.pop()
            folder = self._folders.get(path)
            if folder is None:
                continue  # gone since it was listed: the one above tells at the next scan
            result.found += self._listed.get(path) or _parsed(folder)
            result.add(folder.near_misses, folder.near_miss_count, folder.unreadable)
            waiting += folder.below
            is_in_turn = folder.sessions and not folder.below and folder.signature is not None
            (leaves if is_in_turn else self._always).append(path)
        newest = len(leaves) if len(leaves) <= FEW else NEWEST
        leaves.sort(key=lambda path: path.rpartition(b"/")[2], reverse=True)
        self._always += leaves[:newest]
        self._in_turn = [[] for _ in range(ROUNDS)]
        for path in leaves[newest:]:  # by name, not by place: a new folder must not shift the turns of the others
            self._in_turn[hash(path) % ROUNDS].append(path)
        return result


def _signature(path: bytes, root: int | None, since: int) -> int | None:
    """Return what changes with every change in a folder; None for one that is gone, or was changed after `since`.

    A scan asks this of every folder, with the root open: what it costs is what a scan costs.
    """
    try:
        status = os.stat(path, dir_fd=root)
    except OSError:
        return None
    mtime, ctime = status.st_mtime_ns, status.st_ctime_ns
    if mtime > since or ctime > since:
        return None
    return hash((status.st_dev, status.st_ino, mtime, ctime))


def _parsed(folder: _Folder) -> Iterator[Session]:
    for name in folder.sessions:
        session = folder.level.step(name)
        assert isinstance(session, Session), "it was one when it was listed"
        yield session
