"""The shallow scan: every session folder below a root, found by listing folders down to session depth.

Room: detect. Lists folders with `os.scandir` and reads nothing else; writes nothing, remembers nothing. Scans are
the truth about what is there; filesystem events only make it known sooner.

A root that is not there is an answer, not an error: `ScanResult.state` says so, because roots are unmounted and
mounted again while the daemon lives. Whoever draws conclusions from what was *not* found asks `complete` first.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from labferry.model import show_path
from labferry.sessions.layout import Layout, Level, NotASession
from labferry.sessions.session import Session

NEAR_MISSES_KEPT = 200
LINK_RULE = "a symbolic link: links are not followed"


class RootState(StrEnum):
    """What a scan found in the place of the root."""

    OK = "ok"
    MISSING = "missing"
    NOT_A_DIRECTORY = "not a directory"
    UNREADABLE = "unreadable"


class NearMiss(NamedTuple):
    """A folder that breaks the layout: where, the part that breaks it, the rule in words, how it would be right."""

    path: bytes
    part: str
    rule: str
    nearest: str = ""


class Unreadable(NamedTuple):
    """A folder above session depth that could not be listed, and what the system said."""

    path: bytes
    error: str


@dataclass(slots=True)
class ScanResult:
    """What one scan saw.

    Attributes
    ----------
    found : list of Session
        In the order the file system gives.
    folder_times : dict of bytes to int
        The mtime in nanoseconds of each session's folder by its path, when folder times were asked for.
    near_misses : list of NearMiss
        The first `NEAR_MISSES_KEPT`; `near_miss_count` counts all of them.
    unreadable : list of Unreadable
        What lies below these is unknown, not gone.
    seconds : float
        Duration.
    state : RootState
        Of the root itself.
    problem : str
        One sentence about the root when its state is not `OK`; otherwise empty.
    """

    found: list[Session] = field(default_factory=list)
    folder_times: dict[bytes, int] = field(default_factory=dict)
    near_misses: list[NearMiss] = field(default_factory=list)
    near_miss_count: int = 0
    unreadable: list[Unreadable] = field(default_factory=list)
    seconds: float = 0.0
    state: RootState = RootState.OK
    problem: str = ""

    @property
    def complete(self) -> bool:
        """Whether a session that was not found is really not there."""
        return self.state is RootState.OK and not self.unreadable

    @property
    def gaps(self) -> str:
        """One sentence about the folders that could not be listed; empty when there are none."""
        if not self.unreadable:
            return ""
        first = self.unreadable[0]
        more = f" (and {len(self.unreadable) - 1} more)" if len(self.unreadable) > 1 else ""
        return f"{show_path(first.path)} cannot be read: {first.error}{more}; sessions below it are not found"

    def add_near_miss(self, path: bytes, miss: NotASession) -> None:
        """Count a folder that breaks the layout, and keep it while there is room."""
        self.near_miss_count += 1
        if len(self.near_misses) < NEAR_MISSES_KEPT:
            self.near_misses.append(NearMiss(path, miss.part, miss.rule, miss.nearest))


def scan(root: bytes, layout: Layout, *, folder_times: bool = False) -> ScanResult:
    """Find every session folder below a root.

    Parameters
    ----------
    root : bytes
        Absolute path of the root. The root itself may be a symbolic link: the operator wrote it down.
    layout : Layout
        The grammar of the folders below it.
    folder_times : bool
        Ask for the mtime of every session's folder. That is one status call per session, so the frequent scan
        leaves it out and asks `folder_mtime_ns` for the sessions whose turn it is.

    Returns
    -------
    ScanResult
        Never raises for what is on disk.
    """
    started = time.perf_counter()
    result = ScanResult()
    levels = [layout.top()]
    while levels:
        level = levels.pop()
        try:
            _list_level(root, level, levels, result)
        except OSError as error:
            _note_unreadable(root, level.path, error, result)
    if folder_times:
        times = ((session.path, folder_mtime_ns(root, session.path)) for session in result.found)
        result.folder_times = {path: mtime_ns for path, mtime_ns in times if mtime_ns is not None}
    result.seconds = time.perf_counter() - started
    return result


def folder_mtime_ns(root: bytes, path: bytes) -> int | None:
    """Return the mtime of a session's folder in nanoseconds; None when it cannot be asked."""
    try:
        return os.lstat(root + b"/" + path).st_mtime_ns
    except OSError:
        return None


def _list_level(root: bytes, level: Level, levels: list[Level], result: ScanResult) -> None:
    step, found = level.step, result.found.append
    with os.scandir(root + b"/" + level.path) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                below = step(entry.name)
                if isinstance(below, Session):
                    found(below)
                elif isinstance(below, NotASession):
                    result.add_near_miss(_join(level.path, entry.name), below)
                else:
                    levels.append(below)
            elif entry.is_symlink() and not _leads_to_a_file(entry):
                below = step(entry.name)
                miss = below if isinstance(below, NotASession) else NotASession(show_path(entry.name), LINK_RULE)
                result.add_near_miss(_join(level.path, entry.name), miss)


def _leads_to_a_file(link: os.DirEntry[bytes]) -> bool:
    try:
        return link.is_file()
    except OSError:  # a loop, or a target that may not be asked
        return False


def _note_unreadable(root: bytes, path: bytes, error: OSError, result: ScanResult) -> None:
    if not path:
        if isinstance(error, FileNotFoundError):
            result.state = RootState.MISSING
        elif isinstance(error, NotADirectoryError):
            result.state = RootState.NOT_A_DIRECTORY
        else:
            result.state = RootState.UNREADABLE
        result.problem = f"{show_path(root)}: {error.strerror or error}"
    elif not isinstance(error, FileNotFoundError | NotADirectoryError):  # those went away since they were listed
        result.unreadable.append(Unreadable(path, error.strerror or str(error)))


def _join(folder: bytes, name: bytes) -> bytes:
    return folder + b"/" + name if folder else name
