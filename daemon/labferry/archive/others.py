"""Archive room: what belongs into the folders that hold a session's copies, so that everything else can be named.

Pure text, nothing is opened here.
"""

from __future__ import annotations

from collections.abc import Iterable


def expected_names(top: bytes, destinations: Iterable[bytes]) -> dict[bytes, set[bytes]]:
    """Return, for every folder on the way from `top` to the copies, the names that belong there.

    Parameters
    ----------
    top : bytes
        The session's own folder at the destination. What is kept outside of it shares its folder with other sessions,
        so nothing can be said about its neighbours.
    destinations : iterable of bytes
        Of the copies; all paths are relative to the same folder.
    """
    expected: dict[bytes, set[bytes]] = {}
    for destination in destinations:
        path = destination
        while path.startswith(top + b"/"):
            folder, _, name = path.rpartition(b"/")
            expected.setdefault(folder, set()).add(name)
            path = folder
    return dict(sorted(expected.items()))
