"""Where a session's files are, and where they go, as the two collections name it: what the configuration says now.

A transfer keeps the place it was planned for. The configuration, or Alyx, may say otherwise by the time it travels.
"""

from __future__ import annotations

from dataclasses import dataclass

from labferry.archive.globus.paths import CollectionMap
from labferry.config import GlobusArchive
from labferry.engine.context import Context
from labferry.engine.planning import base_of
from labferry.errors import LabferryError, NotYetError
from labferry.journal.rows import SessionRow
from labferry.journal.transfer_rows import TransferRow


@dataclass(frozen=True, slots=True)
class Place:
    """The collection that is written to, the folder in it that destinations are relative to, and the session's own."""

    endpoint: str | None
    base: bytes
    source: str | None

    @classmethod
    def planned(cls, transfer: TransferRow) -> Place:
        """Return the place a transfer was planned for."""
        return cls(transfer.endpoint, transfer.base, transfer.source)


def source_of(context: Context, session: SessionRow) -> str:
    """Return a session's folder as the source collection names it.

    Raises
    ------
    LabferryError
        `root_unknown` or `outside_local_path`.
    """
    globus = context.config.globus
    return CollectionMap(globus.local_path, globus.endpoint_subdir).to_collection(context.place_of(session))


def place_of(context: Context, session: SessionRow, target: str) -> Place:
    """Return where a session goes, from where.

    Raises
    ------
    LabferryError
        As `planning.base_of` and `source_of` do.
    """
    settings = context.config.archive[target]
    assert isinstance(settings, GlobusArchive), "only these have a lane that asks"
    return Place(settings.endpoint, base_of(context, session, target), source_of(context, session))


def is_current(context: Context, session: SessionRow, transfer: TransferRow) -> bool:
    """Say whether a transfer would be planned for the same place now."""
    try:
        return place_of(context, session, transfer.target) == Place.planned(transfer)
    except LabferryError:
        return False


def carried_session(context: Context, transfer: TransferRow) -> SessionRow:
    """Return the session whose files a transfer carries."""
    return context.session_of(context.journal.jobs.get(transfer.job_id))


def folder_of(context: Context, transfer: TransferRow) -> bytes | None:
    """Return where the session of a transfer is on this machine; None while its root is not configured."""
    try:
        return context.place_of(carried_session(context, transfer))
    except NotYetError:
        return None
