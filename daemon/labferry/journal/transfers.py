"""Transfers in the journal: the bytes of an archive job, file by file, and the evidence that they arrived."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from labferry.journal.database import Database, load_queries
from labferry.journal.rows import CopyRow, EarlierRow, ItemRow, TransferRow
from labferry.model import Clock

_SQL = load_queries("transfers")


@dataclass(frozen=True, slots=True)
class NewItem:
    """A file to be carried: where to, and what must arrive (size in bytes, MD5)."""

    file_id: int
    destination: bytes
    size: int
    md5: str


class Transfers:
    """The transfer and item tables."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._db = database
        self._clock = clock

    def get(self, transfer_id: int) -> TransferRow:
        """Return a transfer."""
        return TransferRow.of(self._db.read(_SQL["get"], {"id": transfer_id})[0])

    def of_job(self, job_id: int) -> TransferRow | None:
        """Return the transfer of a job, None before it was planned."""
        rows = self._db.read(_SQL["of_job"], {"job_id": job_id})
        return TransferRow.of(rows[0]) if rows else None

    def of_session(self, session_id: int) -> list[TransferRow]:
        """Return the transfers of a session, oldest first."""
        return [TransferRow.of(row) for row in self._db.read(_SQL["of_session"], {"session_id": session_id})]

    def copies(self, file_id: int) -> list[CopyRow]:
        """Return where verified copies of a file are, oldest first; whichever version of it."""
        return [CopyRow.of(row) for row in self._db.read(_SQL["copies"], {"file_id": file_id})]

    def items(self, transfer_id: int) -> list[ItemRow]:
        """Return the files of a transfer, by path."""
        return [ItemRow.of(row) for row in self._db.read(_SQL["items"], {"transfer_id": transfer_id})]

    def totals(self) -> Mapping[str, int]:
        """Return the number of active transfers, and their bytes done and in total."""
        row = self._db.read(_SQL["totals"])[0]
        return {"active": row["active"], "bytes_done": row["bytes_done"], "bytes_total": row["bytes_total"]}

    def earlier(self, transfer: TransferRow) -> list[EarlierRow]:
        """Return what older transfers of the same session brought, or began to bring, to the same place."""
        return [EarlierRow.of(row) for row in self._db.read(_SQL["earlier"], {"id": transfer.id})]

    def plan(
        self,
        job_id: int,
        target: str,
        base: bytes,
        batch: str,
        items: Iterable[NewItem],
        source: str | None = None,
    ) -> TransferRow:
        """Commit what will be carried where, before the first byte moves.

        `source` is the session's folder as a Globus collection names it, None where no service reads it.
        """
        items = list(items)
        values = {"job_id": job_id, "target": target, "base": base, "batch": batch, "source": source}
        values["now"] = self._clock.now()
        totals = {"bytes_total": sum(item.size for item in items), "files_total": len(items)}
        with self._db.write() as connection:
            transfer_id = connection.execute(_SQL["insert"], {**values, **totals}).lastrowid
            for item in items:
                connection.execute(
                    _SQL["insert_item"],
                    {
                        "transfer_id": transfer_id,
                        "file_id": item.file_id,
                        "destination": item.destination,
                        "size": item.size,
                        "md5": item.md5,
                    },
                )
            planned = self.of_job(job_id)
        assert planned is not None
        return planned

    def verified(self, transfer_id: int, evidence: Iterable[tuple[bytes, str]]) -> None:
        """Record that destinations hold the planned bytes, and how that was established."""
        with self._db.write() as connection:
            for destination, how in evidence:
                connection.execute(
                    _SQL["verified"],
                    {"transfer_id": transfer_id, "destination": destination, "how": how, "now": self._clock.now()},
                )

    def lost(self, transfer_id: int, destinations: Iterable[bytes]) -> None:
        """Take the evidence back for destinations that do not hold the planned bytes any more."""
        with self._db.write() as connection:
            for destination in destinations:
                connection.execute(_SQL["lost"], {"transfer_id": transfer_id, "destination": destination})
            connection.execute(_SQL["reopen"], {"id": transfer_id, "now": self._clock.now()})

    def move(self, transfer_id: int, base: bytes) -> None:
        """Let a transfer go elsewhere, where nothing of it is verified yet."""
        with self._db.write():
            self.lost(transfer_id, [row.destination for row in self.items(transfer_id)])
            self._execute("move", id=transfer_id, base=base)

    def marked(self, transfer_id: int, file_id: int) -> None:
        """Record that Alyx was told of the copy."""
        self._execute("marked", transfer_id=transfer_id, file_id=file_id)

    def progress(self, transfer_id: int, bytes_done: int, files_done: int) -> None:
        """Store how far a transfer is."""
        self._execute("progress", id=transfer_id, bytes_done=bytes_done, files_done=files_done)

    def looked(self, transfer_id: int, ours: Iterable[bytes]) -> None:
        """Record the destinations that were free at the first look: what stands there from now on is ours."""
        with self._db.write() as connection:
            for destination in ours:
                connection.execute(_SQL["looked"], {"transfer_id": transfer_id, "destination": destination})

    def take_trouble(self, transfer_id: int) -> tuple[str, str] | None:
        """Return how the last task of a transfer failed, as code and text, once; None if it did not."""
        with self._db.write() as connection:
            row = connection.execute(_SQL["trouble"], {"id": transfer_id}).fetchone()
            if row is None:
                return None
            connection.execute(_SQL["forget_trouble"], {"id": transfer_id})
            return row["trouble"], row["trouble_text"]

    def release(self, transfer_id: int, destinations: Iterable[bytes]) -> None:
        """Let files be sent again that were said to have arrived and have not."""
        with self._db.write() as connection:
            for destination in destinations:
                connection.execute(_SQL["release"], {"transfer_id": transfer_id, "destination": destination})

    def finish(self, transfer_id: int, state: str) -> None:
        """End a transfer as `verified` or `failed`."""
        self._execute("finish", id=transfer_id, state=state)

    def _execute(self, query: str, **values: Any) -> None:
        with self._db.write() as connection:
            connection.execute(_SQL[query], {**values, "now": self._clock.now()})
