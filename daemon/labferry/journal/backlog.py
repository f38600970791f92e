"""History in the journal: sessions that were old when their root was met, and what Alyx has of them (ruling 2)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from labferry.journal.database import Database, load_queries
from labferry.journal.files import Files, KnownRecord
from labferry.journal.rows import SessionRow
from labferry.model import Clock, History

CHANGED = "change of an adopted session"
RELEASED = "backlog release"  # what stands for the completion signal of a session that an operator released
ALL = -1  # no limit
_MD5 = re.compile(r"[0-9a-f]{32}")
_SQL = load_queries("backlog")


class Backlog:
    """The sessions that are history, until an operator or a change makes them ordinary ones."""

    def __init__(self, database: Database, files: Files, clock: Clock) -> None:
        self._db = database
        self._files = files
        self._clock = clock

    # --- reading ------------------------------------------------------------------------------------------

    def unasked(self) -> list[int]:
        """Return the ids of the sessions about which Alyx was not asked yet; those with a completion signal first."""
        return [row["id"] for row in self._db.read(_SQL["unasked"])]

    def unasked_count(self) -> int:
        """Return how many these are, those that are held or not there now included."""
        return int(self._db.read(_SQL["unasked_count"])[0][0])

    def unsignalled(self, root: str, after: int = 0, limit: int = ALL) -> dict[bytes, int]:
        """Return the ids of the first sessions of a root, by path, that are open and had no completion signal yet.

        With `after` those with greater ids.
        """
        rows = self._db.read(_SQL["unsignalled"], {"root": root, "after": after, "limit": limit})
        return {row["path"]: row["id"] for row in rows}

    def counts(self, root: str = "", subject: str = "") -> list[Mapping[str, Any]]:
        """Return how many sessions stand where, and why: `history`, `code`, `sessions`; empty filters match all."""
        return [dict(row) for row in self._db.read(_SQL["counts"], {"root": root, "subject": subject})]

    def select(self, root: str = "", subject: str = "", limit: int = ALL) -> list[SessionRow]:
        """Return sessions of the backlog that are there and not held, the newest recordings first."""
        values = {"root": root, "subject": subject, "limit": limit}
        return [SessionRow.of(row) for row in self._db.read(_SQL["select"], values)]

    def unknown(self, session_id: int) -> list[bytes]:
        """Return the datasets of a session of which nothing was taken over, by path."""
        return [row["path"] for row in self._db.read(_SQL["unknown"], {"session_id": session_id})]

    def existing_at(self, session_id: int, repository: str) -> frozenset[int]:
        """Return the files that were taken over and that exist in a data repository, as Alyx said then."""
        values = {"session_id": session_id, "repository": repository}
        return frozenset(row["id"] for row in self._db.read(_SQL["existing_at"], values))

    # --- what Alyx said -----------------------------------------------------------------------------------

    def take_over(self, file_id: int, dataset_id: str, remote_hash: str, records: Iterable[KnownRecord]) -> None:
        """Believe Alyx about a file that nobody has read here; a hash that is no MD5 is remembered, not used.

        Nothing happens if its session is not to be asked about any more.
        """
        md5 = remote_hash if _MD5.fullmatch(remote_hash) else None
        values = {"id": file_id, "dataset_id": dataset_id, "hash": remote_hash, "md5": md5}
        with self._db.write() as connection:
            if connection.execute(_SQL["take_over"], {**values, "now": self._clock.now()}).rowcount:
                self._files.records(file_id, records)

    def forget_taken_over(self, session_id: int) -> None:
        """Believe Alyx no more about the files of a session: they are compared, or read, anew."""
        with self._db.write() as connection:
            connection.execute(_SQL["forget_taken_over"], {"session_id": session_id})

    def judge(
        self, session_id: int, history: History, code: str, why: str, *, eid: str | None = None, lab: str | None = None
    ) -> None:
        """Record what became of a session after Alyx was asked; nothing happens if it is not history any more."""
        self._write("judge", session_id, history=history, code=code, why=why, eid=eid, lab=lab)

    # --- becoming something else --------------------------------------------------------------------------

    def ask_again(self, session_id: int) -> bool:
        """Let Alyx be asked again about a session; False when it is no history."""
        return self._write("ask_again", session_id)

    def ask_about_root(self, root: str, code: str) -> None:
        """Let Alyx be asked about all sessions of a root that stand in the backlog for one reason."""
        values = {"root": root, "code": code, "now": self._clock.now()}
        with self._db.write() as connection:
            connection.execute(_SQL["ask_about_root"], values)

    def ignore(self, session_id: int, code: str, why: str) -> bool:
        """Leave a session alone for good; False when it is no history."""
        return self._write("ignore", session_id, code=code, why=why)

    def release(self, session_id: int, signal: str = RELEASED) -> bool:
        """Make an ordinary session of history, complete as soon as nothing changes; False when it is none.

        What was taken over stays: files of the same version are neither read nor registered again. `signal` is what
        stands for the completion signal.
        """
        return self._write("release", session_id, signal=signal)

    def was_live(self, session_id: int) -> bool:
        """Make an ordinary session of one with a completion signal, as if it had never been history."""
        with self._db.write():
            self.forget_taken_over(session_id)
            return self._write("was_live", session_id)

    def _write(self, query: str, session_id: int, **values: Any) -> bool:
        with self._db.write() as connection:
            changed = connection.execute(_SQL[query], {"id": session_id, "now": self._clock.now(), **values})
        return changed.rowcount == 1
