"""What in a Globus collection gives its name away, and the exchange there: two renames, and a look before each try."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from labferry.archive.exchange import kept_name, staged_name
from labferry.archive.globus.overwriting import Look
from labferry.archive.globus.paths import join, split
from labferry.archive.globus.service import GlobusService
from labferry.archive.globus.values import Entry, Listing, TransferItem
from labferry.engine.asked import Asked
from labferry.engine.context import Context
from labferry.engine.replacing.order import REPLACING, Beat
from labferry.engine.replacing.permission import replaces_changed
from labferry.errors import BlockedError, NotYetError
from labferry.journal.transfer_rows import EarlierRow, ItemRow, TransferRow
from labferry.journal.transfers import NewItem
from labferry.model import show_path

RENAMING = 150.0  # seconds that one rename may take, with its own deadline
AGAIN = 5.0  # seconds after which names that changed under our hands are looked at again
Listings = Mapping[str, Listing | None]


def choose(
    context: Context,
    asked: Asked,
    transfer: TransferRow,
    todo: Sequence[NewItem],
    look: Look,
    listings: Listings,
    known: Mapping[str, EarlierRow],
) -> list[tuple[bytes, bytes, bytes]]:
    """Return which of the files that are still to come replace what stands in their place, with both other names.

    On an operator's word: whatever other file stands there, and what nobody knows the content of, unless its size is
    trusted. By the configuration: what we archived there ourselves, as long as it has the size in which we left it.

    Parameters
    ----------
    todo : sequence of NewItem
        The files, at the places that were looked at.
    look : Look
        What was found there.
    listings : mapping
        The directories.
    known : mapping
        What older transfers verified, by its place.
    """
    if not (asked.replace or replaces_changed(context, transfer.target)):
        return []
    in_the_way = {*look.differs, *(() if asked.trust_size else look.unverified)}
    chosen = []
    for item in todo:
        where = join(os.fsdecode(transfer.base), item.destination)
        there, old = _entry(listings, where), known.get(where)
        is_old = old is not None and old.md5 != item.md5
        if there is None:
            taken = is_old  # it was published: Alyx must hear first, also of one that is gone
        elif asked.replace:
            taken = where in in_the_way and there.is_file
        else:
            taken = old is not None and is_old and there.is_file and there.size == old.size
        if taken:
            name = item.destination
            chosen.append((name, staged_name(name, transfer.batch), kept_name(name, transfer.batch)))
    return chosen


@dataclass(frozen=True, slots=True)
class _Names:
    """The three names of a file, as the collection has them."""

    staged: str
    destination: str
    kept: str


class ExchangeInCollection:
    """Lets verified files of a collection have their destinations.

    Globus renames nothing onto what is there. So what stands at a destination is renamed first, and for a moment
    nothing is there; Alyx was told before that nothing is. A lost answer leaves names from which the next look goes on.

    Parameters
    ----------
    service : GlobusService
    transfer : TransferRow
    listings : callable
        Lists the directories that files are in.
    beat : callable
    """

    def __init__(
        self,
        service: GlobusService,
        transfer: TransferRow,
        listings: Callable[[Sequence[TransferItem]], Listings],
        beat: Beat,
    ) -> None:
        self._service = service
        self._transfer = transfer
        self._listings = listings
        self._beat = beat

    def __call__(self, rows: Sequence[ItemRow], exchanged: Callable[[Sequence[int]], None]) -> Sequence[ItemRow]:
        """Exchange names file by file, then look at the result; return the files that must be brought again.

        Raises
        ------
        BlockedError
            `destination_differs`: a third file has appeared; all others were exchanged.
        NotYetError
            `replacing`: somebody else renames here too.
        """
        names = {row.file_id: self._names(row) for row in rows}
        cargo = [TransferItem("", names[row.file_id].destination, row.size, row.md5) for row in rows]
        before = self._listings(cargo)
        gone = [row for row in rows if not _is_whole(before, names[row.file_id], row)]
        left = [row for row in rows if row not in gone]
        problems = [row for row in left if self._is_taken_by_a_third(before, names[row.file_id])]
        for row in left:
            if row not in problems:
                self._rename(before, names[row.file_id])
        after = self._listings(cargo)
        done = [row for row in left if row not in problems and _has_arrived(after, names[row.file_id], row)]
        exchanged([row.file_id for row in done])
        if problems:
            where = names[problems[0].file_id].destination
            raise BlockedError(
                "destination_differs", f"archive {self._transfer.target}: {where}: another file has appeared meanwhile"
            )
        if len(done) < len(left):
            missing = next(row for row in left if row not in done)
            why = f"{show_path(missing.destination)} has not got its name in {self._transfer.target} yet"
            raise NotYetError(REPLACING, why, AGAIN)
        return gone

    def _names(self, row: ItemRow) -> _Names:
        base = os.fsdecode(self._transfer.base)
        return _Names(join(base, row.place), join(base, row.destination), join(base, row.kept or b""))

    @staticmethod
    def _is_taken_by_a_third(listings: Listings, names: _Names) -> bool:
        return all(_entry(listings, name) is not None for name in (names.staged, names.destination, names.kept))

    def _rename(self, listings: Listings, names: _Names) -> None:
        """Rename what is not renamed yet; a name that was faster than the look is met again by the next one."""
        if _entry(listings, names.staged) is None:
            return
        if _entry(listings, names.destination) is not None and not self._ask(names.destination, names.kept):
            return
        self._ask(names.staged, names.destination)

    def _ask(self, old: str, new: str) -> bool:
        self._beat(f"renaming {old} in {self._transfer.target}", RENAMING)
        target = self._transfer.target
        return self._service.rename(self._transfer.endpoint or "", old, new, blame=f"archive:{target}")


def _entry(listings: Listings, where: str) -> Entry | None:
    directory, name = split(where)
    return (listings.get(directory) or {}).get(name)


def _is_whole(listings: Listings, names: _Names, row: ItemRow) -> bool:
    """Say whether the new file is there: under its own name, or already at its destination."""
    staged = _entry(listings, names.staged)
    if staged is not None:
        return staged.is_file and staged.size == row.size
    return _entry(listings, names.kept) is not None and _has_arrived(listings, names, row)


def _has_arrived(listings: Listings, names: _Names, row: ItemRow) -> bool:
    there = _entry(listings, names.destination)
    return there is not None and there.is_file and there.size == row.size and _entry(listings, names.staged) is None
