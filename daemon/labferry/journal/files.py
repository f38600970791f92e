"""Manifests in the journal: the files of a session, their checksums, and where Alyx says they are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from itertools import islice, starmap
from typing import Any, NamedTuple

from labferry.journal.database import Database, Row, load_queries
from labferry.journal.rows import CarriableRow, FileRow
from labferry.model import Clock, Decision, FileVersion

PAGE = 1000  # files in memory at a time where a whole manifest is gone through
REMOVED = frozenset({"removed", "removed_unarchived"})  # codes of files that are not in the folder any more
_SQL = load_queries("files")


@dataclass(frozen=True, slots=True)
class KnownRecord:
    """A file record of Alyx: where a dataset is, and whether the bytes are there."""

    id: str
    repository: str
    relative_path: str
    exists: bool


class Removed(NamedTuple):
    """How many files are not in a session's folder any more: registered or archived ones, with one of them; others."""

    archived: int
    left_behind: int
    example: bytes


class Lost(NamedTuple):
    """Files that were removed before they were archived: how many, in how many sessions; session and path of one."""

    files: int
    sessions: int
    session_id: int
    path: bytes


class LargeUnmatched(NamedTuple):
    """Large files that are sent nowhere: how many, of how many bytes, in how many sessions; session and path of one."""

    files: int
    size: int
    sessions: int
    session_id: int
    path: bytes


WantedBy = Callable[[FileRow], Set[str]]  # the archives that are to have a file


def no_archive(_: FileRow) -> Set[str]:
    """Say of every file that no archive is to have it."""
    return frozenset()


class Files:
    """The file and file_record tables."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._db = database
        self._clock = clock

    def of_session(self, session_id: int) -> list[FileRow]:
        """Return the whole manifest of a session, by path."""
        return [FileRow.of(row) for row in self._db.read(_SQL["of_session"], {"session_id": session_id})]

    def each(self, session_id: int) -> Iterator[FileRow]:
        """Yield the whole manifest of a session by path, a page at a time: it may not fit into memory."""
        yield from FileRow.each(self._pages("page", session_id))

    def each_carriable(self, session_id: int) -> Iterator[CarriableRow]:
        """Yield what planning needs of the whole manifest of a session, by path, a page at a time."""
        yield from starmap(CarriableRow, self._pages("page_of_carriable", session_id))

    def each_dataset(self, session_id: int) -> Iterator[FileRow]:
        """Yield the files of a session that are registered, by path, a page at a time."""
        yield from FileRow.each(self._pages("page_of_datasets", session_id))

    def with_ids(self, ids: Iterable[int]) -> list[FileRow]:
        """Return files by their ids, by path."""
        return [FileRow.of(row) for row in self._db.read(_SQL["with_ids"], {"ids": json.dumps(list(ids))})]

    def named(self, session_id: int) -> frozenset[bytes]:
        """Return the files that an operator wants registered although no pattern asks for them."""
        return frozenset(row["path"] for row in self._db.read(_SQL["named"], {"session_id": session_id}))

    def name(self, session_id: int, paths: Iterable[bytes]) -> None:
        """Note that an operator wants files registered, whatever the patterns say, from now on."""
        with self._db.write() as connection:
            for path in paths:
                connection.execute(_SQL["name_one"], {"session_id": session_id, "path": path})

    def count(self, session_id: int) -> int:
        """Return the number of files of a session."""
        return int(self._db.read(_SQL["count"], {"session_id": session_id})[0][0])

    def has_datasets(self, session_id: int) -> bool:
        """Say whether any file of a session is to be registered."""
        return bool(self._db.read(_SQL["has_datasets"], {"session_id": session_id})[0][0])

    def at(self, session_id: int, path: bytes) -> FileRow | None:
        """Return one file of a session's manifest, None when it is not listed."""
        rows = self._db.read(_SQL["at"], {"session_id": session_id, "path": path})
        return FileRow.of(rows[0]) if rows else None

    def owners(self, sessions: Iterable[int], probes: Iterable[tuple[bytes, int, int]]) -> list[int]:
        """Return those of some sessions that have one of these files: path, size, modification time in nanoseconds."""
        ids, found = json.dumps(list(sessions)), set[int]()
        for path, size, mtime_ns in probes:
            values = {"sessions": ids, "path": path, "size": size, "mtime_ns": mtime_ns}
            found |= {row["session_id"] for row in self._db.read(_SQL["owners"], values)}
        return sorted(found)

    def rejected(self, session_id: int, limit: int) -> list[FileRow]:
        """Return the first files of a session that should be registered and cannot be, by path."""
        rows = self._db.read(_SQL["rejected"], {"session_id": session_id, "limit": limit})
        return [FileRow.of(row) for row in rows]

    def summary(self, session_id: int) -> Mapping[str, int]:
        """Return the counts that `show` prints; see the interface contract."""
        row = self._db.read(_SQL["summary"], {"session_id": session_id})[0]
        counts = {key: row[key] or 0 for key in row.keys()}  # noqa: SIM118 - a Row iterates over values
        counts["archived"] = self._db.read(_SQL["archived_count"], {"session_id": session_id})[0][0]
        return counts

    def list_files(
        self,
        session_id: int,
        generation: int,
        listing: Iterable[tuple[FileVersion, Decision]],
        wanted_by: WantedBy = no_archive,
    ) -> None:
        """Store what a walk found; checksums of unchanged versions are kept, others are dropped.

        Files that are gone are forgotten, or kept by name where they had been registered. The listing is taken a page
        at a time, between transactions: a slow disk must not hold up the journal. After a kill in between it is made
        again, as the session is not sealed.
        """
        gone = {row["id"] for row in self._pages("paths", session_id)}
        listing = iter(listing)
        while page := list(islice(listing, PAGE)):
            with self._db.write() as connection:
                for version, decision in page:
                    values = {
                        "session_id": session_id,
                        "path": version.path,
                        "generation": generation,
                        "size": version.size,
                        "mtime_ns": version.mtime_ns,
                        "ctime_ns": version.ctime_ns,
                        "fate": decision.fate,
                        "code": decision.code,
                        "reason": decision.reason,
                    }
                    gone.discard(connection.execute(_SQL["list_one"], values).fetchone()["id"])
        self.gone(session_id, gone, wanted_by)

    def gone(self, session_id: int, file_ids: Iterable[int], wanted_by: WantedBy = no_archive) -> None:
        """Forget files that are not in the folder any more.

        What was registered or archived stays by its name, and so does what would have been worth it: a file that no
        rule left out and that nobody archived is lost here, and that is told. `wanted_by` names the archives that are
        to have a file: while one of them has no verified copy, being registered or in another archive saves nothing.
        """
        with self._db.write() as connection:
            for file_id in file_ids:
                connection.execute(_SQL["forget"], {"id": file_id, "session_id": session_id})
                for file in self.with_ids([file_id]):
                    if file.code not in REMOVED:
                        code, reason = self._removal(file, wanted_by(file))
                        connection.execute(_SQL["gone"], {"id": file_id, "code": code, "reason": reason})

    def _removal(self, file: FileRow, wanted_by: Set[str]) -> tuple[str, str]:
        """Return code and reason of a file that is not in the folder any more."""
        copies = {row["target"] for row in self._db.read(_SQL["has_copies"], {"id": file.id})}
        missing = wanted_by - copies
        if missing and not file.taken_over:
            archives = ", ".join(sorted(missing))
            return "removed_unarchived", f"removed from the folder before it was in archive {archives}"
        if file.dataset_id is not None:
            return "removed", "removed from the folder after it was registered"
        if copies:
            return "removed", "removed from the folder after it was archived"
        return "removed_unarchived", "removed from the folder, and never archived"

    def removed(self, session_id: int) -> Removed:
        """Return how many files of a session were removed from its folder since it was sealed."""
        row = self._db.read(_SQL["removed"], {"session_id": session_id})[0]
        return Removed(row["archived"] or 0, row["left_behind"] or 0, row["example"] or b"")

    def left_behind(self, session_id: int, limit: int) -> list[FileRow]:
        """Return the first files of a session that were removed from it and never archived, by path."""
        rows = self._db.read(_SQL["left_behind"], {"session_id": session_id, "limit": limit})
        return [FileRow.of(row) for row in rows]

    def lost(self, session_id: int | None = None) -> Lost | None:
        """Return what was to be archived and was removed before: of one session, else of all that are not held."""
        row = self._db.read(_SQL["lost"], {"session_id": session_id})[0]
        return Lost(row["files"], row["sessions"], row["session_id"], row["path"]) if row["files"] else None

    def large_unmatched(self, endings: Iterable[str]) -> LargeUnmatched | None:
        """Return what there is of files of a gigabyte or more that no rule asks for; those with `endings` are meant."""
        row = self._db.read(_SQL["large_unmatched"], {"endings": json.dumps(list(endings))})[0]
        if not row["files"]:
            return None
        return LargeUnmatched(row["files"], row["bytes"], row["sessions"], row["session_id"], row["path"])

    def checksums(self, session_id: int, sealed: Iterable[tuple[FileVersion, str]]) -> None:
        """Store MD5 checksums; one that belongs to another version than the listed one is not taken."""
        with self._db.write() as connection:
            for version, md5 in sealed:
                connection.execute(
                    _SQL["checksum"],
                    {
                        "session_id": session_id,
                        "path": version.path,
                        "size": version.size,
                        "mtime_ns": version.mtime_ns,
                        "ctime_ns": version.ctime_ns,
                        "md5": md5,
                    },
                )

    def reject(self, file_id: int, code: str, reason: str) -> None:
        """Leave a file out that should have been a dataset; the rest of its session proceeds."""
        with self._db.write() as connection:
            connection.execute(_SQL["reject"], {"id": file_id, "code": code, "reason": reason})

    def registered(self, file_id: int, dataset_id: str, md5: str, records: Iterable[KnownRecord]) -> None:
        """Record what Alyx confirmed for one file."""
        values: dict[str, Any] = {"id": file_id, "dataset_id": dataset_id, "hash": md5, "now": self._clock.now()}
        with self._db.write() as connection:
            connection.execute(_SQL["registered"], values)
            self.records(file_id, records)

    def records(self, file_id: int, records: Iterable[KnownRecord]) -> None:
        """Store where Alyx says a file is; what was stored before is forgotten."""
        with self._db.write() as connection:
            connection.execute(_SQL["forget_records"], {"file_id": file_id})
            for record in records:
                connection.execute(
                    _SQL["record"],
                    {
                        "id": record.id,
                        "file_id": file_id,
                        "repository": record.repository,
                        "relative_path": record.relative_path,
                        "on_disk": record.exists,
                    },
                )

    def _pages(self, query: str, session_id: int) -> Iterator[Row]:
        after = b""
        while rows := self._db.read(_SQL[query], {"session_id": session_id, "after": after, "limit": PAGE}):
            yield from rows
            after = rows[-1]["path"]
