r"""From what an operator types to a place below a root.

Paths come as text: absolute, or relative to a root; with `..` and a trailing slash; with `\xNN` for bytes that are
not UTF-8, as we show them ourselves. A place is named by these rules alone, whether or not anything is there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass

from labferry.config import Config, Root
from labferry.engine.context import Context
from labferry.journal.rows import SessionRow

_ESCAPE = re.compile(rb"\\x([89a-f][0-9a-f])")


@dataclass(frozen=True, slots=True)
class Place:
    """A path below a root, or the root itself.

    Attributes
    ----------
    root : Root
    path : bytes
        Relative to the root, normalised; empty for the root.
    """

    root: Root
    path: bytes

    @property
    def top(self) -> bytes:
        """The absolute path of the root."""
        return os.fsencode(self.root.path)

    @property
    def absolute(self) -> bytes:
        """The absolute path."""
        return os.path.join(self.top, self.path) if self.path else self.top


def spellings(text: str) -> tuple[bytes, ...]:
    r"""Return the paths a text may mean: as it is, and with every `\xNN` turned back into its byte."""
    plain = os.fsencode(text)
    unescaped = _ESCAPE.sub(lambda escape: bytes([int(escape[1], 16)]), plain)
    return (plain,) if unescaped == plain else (plain, unescaped)


def places(config: Config, path: bytes) -> list[Place]:
    """Return the places a path may mean: one at most for an absolute path, else one below each root."""
    path = os.path.normpath(path)
    if not path.startswith(b"/"):
        below = b"" if path == b"." else path
        return [] if below.split(b"/")[0] == b".." else [Place(root, below) for root in config.roots]
    path = b"/" + path.lstrip(b"/")
    found = _below(config, path, os.path.normpath)
    if found is None:
        # The operator may have come over links that the configuration does not name, or the reverse.
        found = _below(config, os.path.realpath(path), os.path.realpath)
    return [] if found is None else [found]


def _below(config: Config, path: bytes, resolve: Callable[[bytes], bytes]) -> Place | None:
    for root in config.roots:
        top = resolve(os.fsencode(root.path))
        if path == top:
            return Place(root, b"")
        if path.startswith(top.rstrip(b"/") + b"/"):
            return Place(root, path[len(top.rstrip(b"/")) + 1 :])
    return None


def session_folder(context: Context, row: SessionRow) -> bytes:
    """Return the absolute path of a session's folder, whether or not it is there.

    A root that is not configured any more is where it was.
    """
    for root in context.config.roots:
        if root.name == row.root:
            return os.path.join(os.fsencode(root.path), row.path)
    return os.path.join(context.journal.sessions.root_paths()[row.root], row.path)
