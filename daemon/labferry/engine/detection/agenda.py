"""Whose turn it is: of thousands of sessions under watch, those that are due, without a step for each of the others."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass

from labferry.detect.cadence import Due
from labferry.detect.foldertimes import Folders

SUPERSEDED = 2  # turns per session that are kept before the list is made anew: most of them do not count any more


@dataclass(slots=True)
class Kept:
    """A session that was complete, or was taken over, and stays under watch; times in monotonic seconds.

    Attributes
    ----------
    id : int
    since : float
        When it was complete last, epoch seconds.
    due : Due
        When to look next.
    digest : bytes or None
        Of the times of its folders before the last look at every file; None before the first one.
    folders : tuple of bytes
        The folders that this is about; empty when they must be listed.
    """

    id: int
    since: float
    due: Due
    digest: bytes | None = None
    folders: Folders = ()


class Agenda:
    """The turns of the sessions of one root.

    Who changes when a session is due says so (`note`), or that many were changed (`doubt`).

    Parameters
    ----------
    kept : mapping of bytes to Kept
        The sessions by path; read at every question, so that one that went has no turn.
    """

    def __init__(self, kept: Mapping[bytes, Kept]) -> None:
        self._kept = kept
        self._turns: list[tuple[float, bytes]] = []  # a heap; a turn counts while its session is due at that time
        self._is_in_doubt = True

    def note(self, path: bytes) -> None:
        """Take note that a session has another time than before."""
        heapq.heappush(self._turns, (self._kept[path].due.times, path))

    def doubt(self) -> None:
        """Ask all sessions again before the next turn; from any thread, after their times were changed."""
        self._is_in_doubt = True

    def next(self, now: float) -> bytes | None:
        """Return the session that has been due for the longest time, and strike its turn out; None when none is due.

        Parameters
        ----------
        now : float
            Monotonic seconds.
        """
        if self._is_in_doubt or len(self._turns) > SUPERSEDED * (len(self._kept) + 1):
            self._is_in_doubt = False  # before the sessions are asked: what is changed meanwhile is asked for again
            self._turns = [(kept.due.times, path) for path, kept in self._kept.items()]
            heapq.heapify(self._turns)
        while self._turns and self._turns[0][0] <= now:
            at, path = heapq.heappop(self._turns)
            if path in self._kept and self._kept[path].due.times == at:
                return path
        return None
