"""Archive room: what a transfer may write to (ruling 18). Pure decisions, nothing is asked here.

A transfer with checksum comparison silently overwrites what differs, and its own unfinished files already have
their final names. So the destination is looked at once before the first submission: what was absent then is
ours to write from then on, what was there never is.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from labferry.archive.globus.paths import split
from labferry.archive.globus.values import Entry, Listing, TransferItem
from labferry.errors import BlockedError
from labferry.model import first_of

_SHOWN = 5  # files that a message names


@dataclass(frozen=True, slots=True)
class Look:
    """What the first look at a destination found; every item is in exactly one of the four.

    Attributes
    ----------
    ours : frozenset of str
        Destinations that may be written, now and whenever the task is sent again.
    verified : frozenset of str
        The right content is there and was verified before: nothing to send.
    differs : tuple of str
        Something else is there.
    unverified : tuple of str
        A file of the right size is there, and nobody knows what is in it.
    """

    ours: frozenset[str]
    verified: frozenset[str]
    differs: tuple[str, ...]
    unverified: tuple[str, ...]

    def require_free(self, where: str) -> None:
        """Insist that nobody else's file stands in the way; `where` begins the message.

        Raises
        ------
        BlockedError
            `destination_differs` or `destination_unverified`, with the files.
        """
        equal = f"of the same name and size, with unknown content, are there: {_named(self.unverified)}"
        if self.differs:
            other = f"{where}: different files of the same name are there: {_named(self.differs)}"
            raise BlockedError("destination_differs", f"{other}; others {equal}" if self.unverified else other)
        if self.unverified:
            raise BlockedError("destination_unverified", f"{where}: files {equal}")


def first_look(
    listings: Mapping[str, Listing | None],
    items: Collection[TransferItem],
    ours: Container[str],
    verified: Mapping[str, str],
) -> Look:
    """Decide for each item whether it may be sent.

    Parameters
    ----------
    listings : mapping
        Every directory of `directories`, None for one that does not exist; those beneath such a one may be left out.
    items : collection of TransferItem
        What shall be sent.
    ours : container of str
        Destinations that an earlier look found absent.
    verified : mapping
        MD5 of the files whose content was verified there before, by destination.

    Raises
    ------
    ValueError
        A directory was not looked at: what is in it must not count as absent.
    """
    _require_looked_at(items, listings)
    found: dict[_Finding, list[str]] = {finding: [] for finding in _Finding}
    for item in items:
        directory, name = split(item.destination)
        entry = (listings.get(directory) or {}).get(name)
        found[_finding(item, entry, ours, verified)].append(item.destination)
    return Look(
        ours=frozenset(found[_Finding.OURS]),
        verified=frozenset(found[_Finding.VERIFIED]),
        differs=tuple(found[_Finding.DIFFERS]),
        unverified=tuple(found[_Finding.UNVERIFIED]),
    )


class _Finding(Enum):
    OURS = auto()
    VERIFIED = auto()
    DIFFERS = auto()
    UNVERIFIED = auto()


def _finding(item: TransferItem, entry: Entry | None, ours: Container[str], verified: Mapping[str, str]) -> _Finding:
    if entry is None:
        return _Finding.OURS
    if not entry.is_file:
        return _Finding.DIFFERS
    md5 = verified.get(item.destination)
    if md5 is not None:  # it is worth protecting, even from ourselves
        return _Finding.VERIFIED if (entry.size, md5) == (item.size, item.md5) else _Finding.DIFFERS
    if item.destination in ours:
        return _Finding.OURS
    return _Finding.UNVERIFIED if entry.size == item.size else _Finding.DIFFERS


def _require_looked_at(items: Collection[TransferItem], listings: Mapping[str, Listing | None]) -> None:
    missing = [directory for directory, listing in listings.items() if listing is None]
    for directory in directories(items):
        if directory not in listings and not beneath_missing(directory, missing):
            raise ValueError(f"not looked at: {directory}")


def directories(items: Iterable[TransferItem]) -> list[str]:
    """Return the directories that hold the items, each once, a parent before what is beneath it."""
    return sorted({split(item.destination)[0] for item in items})


def beneath_missing(directory: str, missing: Collection[str]) -> bool:
    """Tell whether `directory` is beneath, or is, one that does not exist: it need not be looked for."""
    return any(f"{directory}/".startswith(f"{parent.rstrip('/')}/") for parent in missing)


def _named(destinations: tuple[str, ...]) -> str:
    return first_of(destinations[:_SHOWN], len(destinations))
