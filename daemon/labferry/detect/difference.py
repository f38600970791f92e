"""Detection room: what became of a session's files since they were listed. Pure: compares a walk with a list."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from labferry.detect.signature import is_about_transfer, is_temporary
from labferry.model import FileVersion, first_of, show_path
from labferry.sessions.walk import WalkedFile

NAMED = 3  # paths named in a sentence


class Listed(NamedTuple):
    """A file as it was when the session was listed.

    Attributes
    ----------
    id : int
    version : FileVersion
    matters : bool
        It is sent somewhere, or would be if it could be read: another version of it is news.
    unread : bool
        Nobody has read it here (it was taken over from Alyx): a new change time alone says nothing about its content.
    """

    id: int
    version: FileVersion
    matters: bool
    unread: bool


@dataclass(slots=True)
class Difference:
    """What a look at every file found.

    Attributes
    ----------
    added, changed : list of bytes
        Files that must be dealt with: new ones, and other versions of those that are sent somewhere. A link or a pipe
        is as new as a file: the next list says what hinders it.
    noted : list of tuple
        Ids and present versions of files that are sent nowhere, or whose change time alone is another one.
    removed : list of tuple
        Ids and paths of files that are gone; empty when a part of the session could not be looked at.
    unfinished : list of bytes
        New files whose names say that they are still being written.
    closed : list of tuple
        Folders that cannot be looked into, and why; without those that were listed as such.
    """

    added: list[bytes] = field(default_factory=list)
    changed: list[bytes] = field(default_factory=list)
    noted: list[tuple[int, FileVersion]] = field(default_factory=list)
    removed: list[tuple[int, bytes]] = field(default_factory=list)
    unfinished: list[bytes] = field(default_factory=list)
    closed: list[tuple[bytes, str]] = field(default_factory=list)

    @property
    def is_news(self) -> bool:
        """Whether the session must be dealt with again."""
        return bool(self.added or self.changed)

    def sentence(self) -> str:
        """Return what is new, in words."""
        parts = [_named(self.added, "added"), _named(self.changed, "changed")]
        return ", ".join(part for part in parts if part) + " since it was complete"


def compare(walk: Iterable[WalkedFile], listed: Iterable[Listed]) -> Difference:
    """Compare what is in a session's folder with what was listed.

    Flags and the status files of devices are no part of a session (ruling 4).
    """
    difference = Difference()
    versions: dict[bytes, FileVersion] = {}
    others: set[bytes] = set()  # what is there and no file to carry
    closed: dict[bytes, str] = {}  # what cannot be looked at, and why
    for file in walk:
        if file.error:
            closed[file.path] = file.error
        elif is_about_transfer(file.path):
            continue
        elif file.version is None:
            others.add(file.path)
        else:
            versions[file.path] = file.version
    whole, new = not closed, set(others)
    for known in listed:
        path = known.version.path
        new.discard(path)
        closed.pop(path, None)
        now = versions.pop(path, None)
        if now is None:
            if whole and path not in others and not is_about_transfer(path):
                difference.removed.append((known.id, path))
        elif now != known.version:
            if known.matters and not (known.unread and _same_but_for_ctime(now, known.version)):
                difference.changed.append(path)
            else:
                difference.noted.append((known.id, now))
    for path in (*versions, *sorted(new)):
        (difference.unfinished if is_temporary(path) else difference.added).append(path)
    difference.closed = sorted(closed.items())
    return difference


def _same_but_for_ctime(one: FileVersion, other: FileVersion) -> bool:
    return (one.size, one.mtime_ns) == (other.size, other.mtime_ns)


def _named(paths: list[bytes], what: str) -> str:
    return f"{first_of(map(show_path, paths[:NAMED]), len(paths))} {what}" if paths else ""
