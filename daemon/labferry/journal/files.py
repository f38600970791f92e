"""Manifests in the journal: the files of a session, their checksums, and where Alyx says they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from labferry.journal.database import Database, load_queries
from labferry.journal.rows import FileRow
from labferry.model import Clock, Decision, FileVersion

_SQL = load_queries("files")


@dataclass(frozen=True, slots=True)
class KnownRecord:
    """A file record of Alyx: where a dataset is, and whether the bytes are there."""

    id: str
    repository: str
    relative_path: str
    exists: bool


class Files:
    """The file and file_record tables."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._db = database
        self._clock = clock

    def of_session(self, session_id: int) -> list[FileRow]:
        """Return the whole manifest of a session, by path."""
        return [FileRow.of(row) for row in self._db.read(_SQL["of_session"], {"session_id": session_id})]

    def datasets(self, session_id: int) -> list[FileRow]:
        """Return the files of a session that are registered, by path."""
        return [FileRow.of(row) for row in self._db.read(_SQL["datasets"], {"session_id": session_id})]

    def at(self, session_id: int, path: bytes) -> FileRow | None:
        """Return one file of a session's manifest, None when it is not listed."""
        rows = self._db.read(_SQL["at"], {"session_id": session_id, "path": path})
        return FileRow.of(rows[0]) if rows else None

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
        self, session_id: int, generation: int, listing: Iterable[tuple[FileVersion, Decision]]
    ) -> list[FileRow]:
        """Store what a walk found; checksums of unchanged versions are kept, others are dropped.

        Files that are gone are forgotten, or kept by name where they had been registered.
        """
        with self._db.write() as connection:
            before = {row["path"]: row["id"] for row in connection.execute(_SQL["paths"], {"session_id": session_id})}
            for version, decision in listing:
                before.pop(version.path, None)
                connection.execute(
                    _SQL["list_one"],
                    {
                        "session_id": session_id,
                        "path": version.path,
                        "generation": generation,
                        "size": version.size,
                        "mtime_ns": version.mtime_ns,
                        "ctime_ns": version.ctime_ns,
                        "fate": decision.fate,
                        "code": decision.code,
                        "reason": decision.reason,
                    },
                )
            for file_id in before.values():
                connection.execute(_SQL["gone"], {"id": file_id})
                connection.execute(_SQL["forget"], {"id": file_id})
            return self.of_session(session_id)

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
