"""Complete sessions in the journal: which stay under watch, and what the last look at each found (ruling 1)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from labferry.journal.database import Database, load_queries
from labferry.journal.files import Files, WantedBy, no_archive
from labferry.model import Clock, FileVersion

_SQL = load_queries("revisits")


class KeptRow(NamedTuple):
    """A session under watch.

    Attributes
    ----------
    id : int
    path : bytes
        Relative to its root.
    since : float
        When it was complete last, or taken over; epoch seconds.
    folders : bytes or None
        Digest of the times of its folders at the last look at every file.
    looked_at : float or None
        When that was; epoch seconds.
    """

    id: int
    path: bytes
    since: float
    folders: bytes | None
    looked_at: float | None


class ListedRow(NamedTuple):
    """A file of a manifest that was not removed; `matters` and `unread` as in `detect.difference.Listed`."""

    id: int
    version: FileVersion
    matters: bool
    unread: bool


class Revisits:
    """The revisit table, and the manifest as a look compares it with the disk."""

    def __init__(self, database: Database, files: Files, clock: Clock) -> None:
        self._db = database
        self._files = files
        self._clock = clock

    def of_root(self, root: str) -> list[KeptRow]:
        """Return the sessions below a root that are complete, or were taken over, and are there."""
        return [KeptRow(*row) for row in self._db.read(_SQL["of_root"], {"root": root})]

    def listed(self, session_id: int) -> Iterator[ListedRow]:
        """Yield the files of a session as they were when it was listed."""
        for row in self._db.read(_SQL["listed"], {"session_id": session_id}):
            version = FileVersion(row["path"], row["size"], row["mtime_ns"], row["ctime_ns"])
            yield ListedRow(row["id"], version, bool(row["matters"]), bool(row["taken_over"]))

    def looked(self, session_id: int, folders: bytes, signature: bytes | None = None) -> None:
        """Record that every file was looked at, and the digest of the times of the folders before that look.

        With the `signature` that its files have now a session is known again should it be renamed.
        """
        with self._db.write() as connection:
            connection.execute(_SQL["looked"], {"id": session_id, "folders": folders, "now": self._clock.now()})
            if signature is not None:
                connection.execute(_SQL["sign"], {"id": session_id, "signature": signature})

    def closed(self, session_id: int, folder: bytes, why: str) -> bool:
        """Record a folder of a session (empty: its own) that cannot be looked into; False if that was known."""
        with self._db.write() as connection:
            values = {"id": session_id, "folder": folder, "why": why, "now": self._clock.now()}
            return connection.execute(_SQL["closed"], values).rowcount == 1

    def opened(self, session_id: int) -> None:
        """Record that every folder of a session can be looked into again."""
        with self._db.write() as connection:
            connection.execute(_SQL["opened"], {"id": session_id, "now": self._clock.now()})

    def note(
        self,
        session_id: int,
        noted: Iterable[tuple[int, FileVersion]],
        removed: Iterable[int],
        wanted_by: WantedBy = no_archive,
    ) -> None:
        """Record what calls for nothing: other versions of files that are sent nowhere, and files that are gone."""
        with self._db.write() as connection:
            for file_id, version in noted:
                values = {"size": version.size, "mtime_ns": version.mtime_ns, "ctime_ns": version.ctime_ns}
                connection.execute(_SQL["note"], {"id": file_id, **values})
            self._files.gone(session_id, removed, wanted_by)
