"""The shallow scan: every session folder below a root, found by listing folders down to session depth.

Room: detect. Lists folders with `os.scandir` and reads nothing else; writes nothing, remembers nothing. Scans are
the truth about what is there; filesystem events only make it known sooner.

A root that is not there is an answer, not an error: `ScanResult.state` says so, because roots are unmounted and
mounted again while the daemon lives. Whoever draws conclusions from what was *not* found asks `complete` first.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
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
    near_misses: list[NearMiss] = field(default_factory=list)
    near_miss_count: int = 0
    unreadable: list[Unreadable] = field(default_factory=list)
    seconds: float = 0.0
    state: RootState = RootState.OK
    problem: str = ""

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

    def add(self, near_misses: Sequence[NearMiss], count: int, unreadable: Unreadable | None) -> None:
        """Add what one folder showed: the first of its near misses, how many there are, why it cannot be read."""
        self.near_miss_count += count
        self.near_misses += near_misses[: max(0, NEAR_MISSES_KEPT - len(self.near_misses))]
        if unreadable is not None:
            self.unreadable.append(unreadable)


def scan(root: bytes, layout: Layout) -> ScanResult:
    """Find every session folder below a root.

    Parameters
    ----------
    root : bytes
        Absolute path of the root. The root itself may be a symbolic link: the operator wrote it down.
    layout : Layout
        The grammar of the folders below it.

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
            list_level(root, level, levels, result)
        except OSError as error:
            note_unreadable(root, level.path, error, result)
    result.seconds = time.perf_counter() - started
    return result


def list_level(root: bytes, level: Level, levels: list[Level], result: ScanResult) -> None:
    """List one folder: what the grammar goes on with is added to `levels`, all else to the result.

    Raises
    ------
    OSError
        It cannot be listed.
    """
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


def note_unreadable(root: bytes, path: bytes, error: OSError, result: ScanResult) -> None:
    """Note in a result that a folder could not be listed; one that went away meanwhile is nothing to note."""
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
