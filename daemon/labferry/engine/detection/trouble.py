"""What a scan has against a root: of which kind, what to do about it, and telling it once."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import structlog

_log = structlog.get_logger()

SCANNED = "Sessions are found by scanning, later."  # about a root of which no events, or not all, can be had


class Kind(StrEnum):
    """What a scan can have against a root."""

    AWAY = "away"
    RENAMED = "renamed"
    EMPTY = "empty"
    MISSING = "sessions_missing"
    CLOSED = "folders_closed"


_WAYS_OUT = {
    Kind.AWAY: "Mount the disk, or correct the root's path or rights; nothing is concluded from what is missing.",
    Kind.RENAMED: "Give the root its former `name` again.",
    Kind.EMPTY: "Mount the disk; nothing is concluded from what is missing until then.",
    Kind.MISSING: "Mount the disk, or put them back; if they are gone for good: `labferry rescan {} --accept-missing`.",
    Kind.CLOSED: "Give the service user read permission; the next scan finds what is in it.",
}


class Trouble(NamedTuple):
    """What a scan has against a root, with the numbers of now in its sentence."""

    kind: Kind
    why: str

    def way_out(self, root: str) -> str:
        """Return what to do about it."""
        return _WAYS_OUT[self.kind].format(root)


def tell(root: str, trouble: Trouble | None, told: Kind | None) -> Kind | None:
    """Say once that a root is in trouble of some kind, and once that it is over; how it goes on, `status` shows.

    Parameters
    ----------
    root : str
        The name of the root.
    trouble : Trouble or None
        What is the matter now.
    told : Kind or None
        What was told last; None where all was well.

    Returns
    -------
    Kind or None
        What is told now.
    """
    kind = trouble.kind if trouble else None
    if trouble is None and told is not None:
        _log.info("root_problem_over", root=root, kind=told)
    elif trouble is not None and kind is not told:
        _log.warning("root_problem", root=root, kind=kind, why=trouble.why)
    return kind
