"""Transfers in the journal: the bytes of an archive job, file by file, and the evidence that they arrived."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from labferry.journal.database import Database, load_queries
from labferry.journal.rows import JobRow
from labferry.journal.transfer_rows import CopyRow, EarlierRow, ItemRow, TransferRow
from labferry.model import Clock

ARCHIVED_EARLIER = "archived earlier"  # how a copy was verified: by the transfer of an older generation
_SQL = load_queries("transfers")


class NewItem(NamedTuple):
    """A file to be carried: where to, and what must arrive (size in bytes, MD5). A session may have 100,000."""

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

    def holding(self, file_id: int) -> dict[str, CopyRow]:
        """Return the newest verified copy of a file by target: what the archives hold under its name."""
        return {copy.target: copy for copy in self.copies(file_id)}

    def items(self, transfer_id: int) -> list[ItemRow]:
        """Return the files of a transfer, by path."""
        return [ItemRow.of(row) for row in self._db.read(_SQL["items"], {"transfer_id": transfer_id})]

    def first_items(self, transfer_id: int, limit: int) -> list[ItemRow]:
        """Return the first files of a transfer, by path."""
        rows = self._db.read(_SQL["first_items"], {"transfer_id": transfer_id, "limit": limit})
        return [ItemRow.of(row) for row in rows]

    def staged(self, transfer_id: int) -> list[ItemRow]:
        """Return the files that wait under a name of their own to replace something, by path."""
        return [ItemRow.of(row) for row in self._db.read(_SQL["staged"], {"transfer_id": transfer_id})]

    def evidence(self, transfer_id: int) -> list[Mapping[str, Any]]:
        """Return how the files of a transfer were verified (empty: not yet), and for each way how many, of what size.

        `marked` and `replaced` say how many of them Alyx was told of, and how many took the place of something else.
        """
        return [dict(row) for row in self._db.read(_SQL["evidence"], {"transfer_id": transfer_id})]

    def held(self, target: str, folder: bytes) -> bool:
        """Say whether copies were verified in a folder of a target, or below it."""
        values = {"target": target, "folder": folder.rstrip(b"/"), "below": folder.rstrip(b"/") + b"/"}
        return bool(self._db.read(_SQL["held"], values)[0][0])

    def totals(self) -> Mapping[str, int]:
        """Return the number of active transfers, and their bytes and files done and in total."""
        row = self._db.read(_SQL["totals"])[0]
        return {name: row[name] for name in ("active", "bytes_done", "bytes_total", "files_done", "files_total")}

    def earlier(self, transfer: TransferRow) -> list[EarlierRow]:
        """Return what older transfers of the same session brought, or began to bring, to the same place."""
        return [EarlierRow.of(row) for row in self._db.read(_SQL["earlier"], {"id": transfer.id})]

    def claimed(self, transfer: TransferRow) -> dict[bytes, tuple[str, bytes]]:
        """Return the destinations that another folder of the same session holds, with its root and path.

        It may write them, or has written them: what a second folder sent there would take the place of the first one's.
        """
        rows = self._db.read(_SQL["claimed"], {"id": transfer.id})
        return {row["destination"]: (row["root"], row["path"]) for row in rows}

    def half_exchanged(self, job: JobRow, base: bytes, endpoint: str | None = None) -> list[TransferRow]:
        """Return transfers of older generations to a place, whose exchanges of names may have happened in part."""
        values = {"session_id": job.session_id, "job_id": job.id, "target": job.target}
        rows = self._db.read(_SQL["half_exchanged"], {**values, "base": base, "endpoint": endpoint})
        return [TransferRow.of(row) for row in rows]

    def plan(
        self,
        job_id: int,
        target: str,
        base: bytes,
        batch: str,
        items: Iterable[NewItem],
        source: str | None = None,
        endpoint: str | None = None,
    ) -> TransferRow:
        """Commit what will be carried where, before the first byte moves.

        `endpoint` is the Globus collection that `base` is in, and `source` the session's folder as the one on this
        side names it; both are None where no service carries the files.
        """
        items = list(items)
        values = {"job_id": job_id, "target": target, "base": base, "batch": batch, "now": self._clock.now()}
        ends = {"source": source, "endpoint": endpoint}
        totals = {"bytes_total": sum(item.size for item in items), "files_total": len(items)}
        with self._db.write() as connection:
            transfer_id = connection.execute(_SQL["insert"], {**values, **ends, **totals}).lastrowid
            connection.executemany(_SQL["insert_item"], ((transfer_id, *item) for item in items))
            planned = self.of_job(job_id)
        assert planned is not None
        return planned

    def verified(self, transfer_id: int, evidence: Iterable[tuple[bytes, str]]) -> None:
        """Record that destinations hold the planned bytes, and how that was established."""
        now = self._clock.now()
        rows = (
            {"transfer_id": transfer_id, "destination": destination, "how": how, "now": now}
            for destination, how in evidence
        )
        with self._db.write() as connection:
            connection.executemany(_SQL["verified"], rows)

    def know_earlier(self, transfer: TransferRow) -> None:
        """Take over what older generations of the session verified in the same place: only what is new is carried."""
        copies: dict[bytes, tuple[int, str]] = {}
        for row in self.earlier(transfer):
            if row.verified_at is not None:
                copies[row.destination] = (row.size, row.md5)
        known = [
            (item.destination, ARCHIVED_EARLIER)
            for item in self.unverified(transfer.id)
            if copies.get(item.destination) == (item.size, item.md5)
        ]
        self.verified(transfer.id, known)

    def confirmed(self, transfer_id: int) -> None:
        """Record that all that was said to have arrived is there."""
        self._execute("confirmed", id=transfer_id)

    def lost(self, transfer_id: int, destinations: Iterable[bytes]) -> None:
        """Take the evidence back for destinations that do not hold the planned bytes any more."""
        with self._db.write() as connection:
            for destination in destinations:
                connection.execute(_SQL["lost"], {"transfer_id": transfer_id, "destination": destination})
            connection.execute(_SQL["reopen"], {"id": transfer_id, "now": self._clock.now()})

    def move(self, transfer_id: int, base: bytes) -> None:
        """Let a transfer go elsewhere, where nothing of it is verified yet."""
        with self._db.write():
            self.lost(transfer_id, [row.place for row in self.items(transfer_id)])
            self._execute("unstage", id=transfer_id)
            self._execute("move", id=transfer_id, base=base)

    def stage(self, transfer_id: int, names: Iterable[tuple[bytes, bytes, bytes]]) -> None:
        """Let files replace what stands in their place.

        Each of `names` is a destination, the name its file is brought under until then, and the name under which what
        stands there is kept. A file that a task carries already is left as it is.
        """
        with self._db.write():
            for destination, staged, kept in names:
                self._execute("stage", transfer_id=transfer_id, destination=destination, staged=staged, kept=kept)

    def exchanging(self, transfer_id: int, file_ids: Iterable[int]) -> None:
        """Commit that files are about to get their destinations."""
        with self._db.write():
            for file_id in file_ids:
                self._execute("exchanging", transfer_id=transfer_id, file_id=file_id)

    def exchanged(self, transfer_id: int, file_ids: Iterable[int]) -> None:
        """Record that files have their destinations, and that what stood there is kept."""
        with self._db.write():
            for file_id in file_ids:
                self._execute("exchanged", transfer_id=transfer_id, file_id=file_id)

    def marked(self, transfer_id: int, file_id: int) -> None:
        """Record that Alyx was told of the copy."""
        self._execute("marked", transfer_id=transfer_id, file_id=file_id)

    def progress(self, transfer_id: int, bytes_done: int, files_done: int) -> None:
        """Store how far a transfer is."""
        self._execute("progress", id=transfer_id, bytes_done=bytes_done, files_done=files_done)

    def looked(self, transfer_id: int, ours: Iterable[bytes]) -> None:
        """Record the destinations that were free at the first look: what is sent there, and its remains, are ours."""
        rows = ({"transfer_id": transfer_id, "destination": destination} for destination in ours)
        with self._db.write() as connection:
            connection.executemany(_SQL["looked"], rows)

    def unlooked(self, transfer_id: int) -> list[NewItem]:
        """Return the files in whose place nobody has looked yet."""
        return [NewItem(*row) for row in self._db.read(_SQL["unlooked"], {"id": transfer_id})]

    def unverified(self, transfer_id: int) -> list[NewItem]:
        """Return the files without evidence."""
        return [NewItem(*row) for row in self._db.read(_SQL["unverified"], {"id": transfer_id})]

    def missing(self, transfer_id: int) -> tuple[int, int]:
        """Return how many files have not arrived, and how many of these a task carries."""
        row = self._db.read(_SQL["missing"], {"id": transfer_id})[0]
        return row["files"], row["carried"]

    def is_under_way(self, job_id: int) -> bool:
        """Say whether files of a job are in a task, or brought and not verified, or wait to replace something."""
        return bool(self._db.read(_SQL["is_under_way"], {"job_id": job_id})[0][0])

    def trouble(self, transfer_id: int) -> tuple[str, str] | None:
        """Return what the job must hear of its last task, as code and text; None if there is nothing."""
        rows = self._db.read(_SQL["trouble"], {"id": transfer_id})
        return (rows[0]["trouble"], rows[0]["trouble_text"]) if rows else None

    def forget_trouble(self, job_id: int) -> None:
        """Record that a job has heard of its last task; belongs to the transaction that says what came of it."""
        self._execute("forget_trouble", job_id=job_id)

    def read_from(self, transfer_id: int, source: str) -> None:
        """Let the files be read under another name of the session's folder; no task may carry them now."""
        self._execute("from_source", id=transfer_id, source=source)

    def start_over(self, transfer_id: int, base: bytes, endpoint: str) -> TransferRow:
        """Let a transfer go to another place, where nobody has looked yet; no task may carry it now."""
        with self._db.write():
            self._execute("start_over", id=transfer_id)
            self._execute("to_place", id=transfer_id, base=base, endpoint=endpoint)
            return self.get(transfer_id)

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
