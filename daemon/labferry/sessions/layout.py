"""What every layout offers: the grammar of the session folders below a root.

Room: sessions. A layout is stepped through folder by folder. The shallow scan does so on disk and `parse` on a
given path, so that both read one grammar and can never disagree. No file is opened here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from labferry.model import show_path
from labferry.sessions.session import Session


@dataclass(frozen=True, slots=True)
class NotASession:
    """The path breaks the grammar.

    Attributes
    ----------
    part : str
        The part of the path that breaks it, in display form.
    rule : str
        The rule it breaks, in words.
    nearest : str
        How the part would be right, where that can be told; otherwise empty.
    """

    part: str
    rule: str
    nearest: str = ""


@dataclass(frozen=True, slots=True)
class Above:
    """The path is right so far, and sessions may lie below it."""


@dataclass(frozen=True, slots=True)
class Inside:
    """The path lies below a session's folder; `below` is what follows it."""

    session: Session
    below: bytes


Parsed = Session | NotASession | Above | Inside


class Level(Protocol):
    """A folder above the sessions, and what the grammar allows in it."""

    @property
    def path(self) -> bytes:
        """The folder's own path relative to the root; empty for the root."""

    def step(self, name: bytes) -> Level | Session | NotASession:
        """Read the name of one folder in it."""


class Layout(Protocol):
    """The grammar of the session folders below a root."""

    @property
    def name(self) -> str:
        """The name it has in the configuration."""

    @property
    def shape(self) -> str:
        """How the path of a session below the root is written, for people."""

    def top(self) -> Level:
        """Return the root, where stepping begins."""

    def parse(self, path: bytes) -> Parsed:
        """Read a path relative to the root; never raises."""


def parse_by_steps(top: Level, path: bytes) -> Parsed:
    """Read a path relative to the root, one folder after the other.

    Parameters
    ----------
    top : Level
        The root.
    path : bytes
        `/` between the parts, none at either end; empty is the root itself.
    """
    if not path:
        return Above()
    parts = path.split(b"/")
    for part in parts:
        if not part:
            return NotASession("/", "no doubled slash and none at either end")
        if part in {b".", b".."}:
            return NotASession(show_path(part), "`.` and `..` are not names")
    level = top
    for i, part in enumerate(parts, start=1):
        found = level.step(part)
        if isinstance(found, NotASession):
            return found
        if isinstance(found, Session):
            return Inside(found, b"/".join(parts[i:])) if i < len(parts) else found
        level = found
    return Above()
