"""The SQLite file under the journal: opening, migrating, transactions, named queries.

Knows SQL and nothing of sessions or jobs. One process (the service holds a lock), one writer at a time,
any number of readers that never wait for it (WAL).
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from labferry.errors import LabferryError, UnavailableError

JOURNAL = "journal"  # the dependency's name in errors
APPLICATION_ID = 0x6C616266  # "labf"
MAGIC = b"SQLite format 3\0"
HEADER = 100  # bytes
NEWEST_SCHEMA_FORMAT = 4
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_MIGRATION = re.compile(r"(\d{4})_\w+\.sql")
_QUERY = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)

Parameters = Sequence[Any] | Mapping[str, Any]
Row = sqlite3.Row


class JournalError(LabferryError):
    """The journal file cannot be used."""


def load_queries(name: str) -> dict[str, str]:
    """Return the named statements of `sql/queries/<name>.sql`."""
    text = (resources.files("labferry.journal") / "sql" / "queries" / f"{name}.sql").read_text("utf-8")
    parts = _QUERY.split(text)[1:]
    return {key: statement.strip() for key, statement in zip(parts[::2], parts[1::2], strict=True)}


def migrations() -> list[tuple[int, str]]:
    """Return (version, SQL) of every migration, in order."""
    folder = resources.files("labferry.journal") / "sql" / "migrations"
    found = [
        (int(m[1]), entry.read_text("utf-8")) for entry in folder.iterdir() if (m := _MIGRATION.fullmatch(entry.name))
    ]
    return sorted(found)


def _is_database(header: bytes) -> bool:
    """Look at the numbers in the first bytes of a file that cannot be others in a database of ours."""
    written_by, read_by, fractions = header[18:19], header[19:20], header[20:24]
    schema_format, encoding = header[44:48], header[56:60]
    return (
        len(header) == HEADER
        and header.startswith(MAGIC)
        and {written_by, read_by} <= {b"\1", b"\2"}
        and fractions == b"\0\x40\x20\x20"
        and int.from_bytes(schema_format) <= NEWEST_SCHEMA_FORMAT
        and int.from_bytes(encoding) <= 1
    )


class Database:
    """The open journal file.

    Parameters
    ----------
    path : Path
        The file; created when missing. Its folder must exist.

    Attributes
    ----------
    problem : str or None
        Why the last write failed; None since a write succeeded.
    damage : str
        What a statement found damaged; empty while nothing was.

    Raises
    ------
    JournalError
        The file is not a journal, is damaged, not ours to write, or was written by a newer labferry.
    UnavailableError
        The state directory is full: the file is fine and stays as it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._readers = threading.local()
        self._readers_lock = threading.Lock()
        self._open_readers: list[sqlite3.Connection] = []
        self._depth = 0
        self.problem: str | None = None
        self.damage = ""
        self._make_file()
        self._require_header()
        self._writer = self._connect(
            "page_size = 1024",  # a transition changes few bytes on several pages, and each goes to the log whole
            "journal_mode = WAL",
            "wal_autocheckpoint = 4000",  # 8 MiB of log: pages that change again and again are folded in less often
            "synchronous = FULL",  # an acknowledged commit survives a power cut
            "foreign_keys = ON",
        )
        try:
            self._migrate()
        except sqlite3.DatabaseError as error:
            self._writer.close()
            raise self._cannot_open(error) from error
        except LabferryError:
            self._writer.close()
            raise

    def _make_file(self) -> None:
        try:
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        except OSError as error:
            message = f"The journal {self.path} cannot be opened: {error.strerror}"
            if error.errno in _FULL:
                raise UnavailableError(JOURNAL, "journal_full", message) from error
            raise JournalError(
                "journal_unusable", message, "Give the state directory and what is in it to the service user."
            ) from error

    def _cannot_open(self, error: sqlite3.DatabaseError) -> LabferryError:
        """Tell a file that is damaged from one that only cannot be written now: that one must not be moved away."""
        if not isinstance(error, sqlite3.OperationalError):
            return self._damaged(str(error))
        message = f"The journal {self.path} cannot be opened: {error}"
        if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_ERROR:
            return UnavailableError(JOURNAL, "journal_full", message)
        # A statement that does not fit: the schema is not the one that its number says. That may be our own fault.
        hint = "Keep the file, and restore the newest one of the backups folder beside it."
        return JournalError("journal_unusable", message, hint)

    def _damaged(self, what: str) -> JournalError:
        self.damage = f"{self.path} cannot be read as a journal: {what}"
        return JournalError(
            "journal_damaged",
            self.damage,
            "Start labferry again: it moves the file aside and restores the newest good backup.",
        )

    def _require_header(self) -> None:
        """Refuse a file whose first bytes make SQLite say that it cannot be written, when in truth it is damaged.

        Raises
        ------
        JournalError
            `journal_damaged`.
        """
        with self.path.open("rb") as file:
            header = file.read(HEADER)
        if header and not _is_database(header):
            raise self._damaged("its first bytes are not those of a database")

    def _connect(self, *pragmas: str) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=30)
        connection.row_factory = sqlite3.Row
        try:
            for pragma in pragmas:
                connection.execute(f"PRAGMA {pragma}")
        except sqlite3.DatabaseError as error:
            connection.close()
            raise self._cannot_open(error) from error
        except UnicodeDecodeError as error:  # of a message about names in the schema that are none any more
            connection.close()
            raise self._damaged(str(error)) from error
        return connection

    def _migrate(self) -> None:
        version = self._scalar("PRAGMA user_version")
        known = migrations()
        newest = known[-1][0]
        if version > newest:
            raise JournalError(
                "journal_newer",
                f"{self.path} has schema {version}; this labferry knows up to {newest}.",
                "Install the labferry that wrote it, or a newer one.",
            )
        application = self._scalar("PRAGMA application_id")
        if version == 0 and application == 0 and self._scalar("SELECT count(*) FROM sqlite_schema"):
            raise JournalError(
                "journal_foreign", f"{self.path} is a database of some other program.", "Set another `state_dir`."
            )
        if 0 < version < newest:
            self.backup(self.path.with_name(f"{self.path.name}.schema-{version}"))
        for number, script in known:
            if number > version:
                stamp = f"PRAGMA application_id = {APPLICATION_ID};\nPRAGMA user_version = {number};"
                self._writer.executescript(f"BEGIN IMMEDIATE;\n{script}\n{stamp}\nCOMMIT;")

    def _scalar(self, sql: str) -> int:
        return int(self._writer.execute(sql).fetchone()[0])

    @contextlib.contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Hold the writer for one transaction; inner uses join the outer one.

        Raises
        ------
        UnavailableError
            The state directory is full or read-only; nothing was written.
        JournalError
            The file is damaged.
        """
        with self._lock:
            if self._depth:
                yield self._writer
                return
            self._depth += 1
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                yield self._writer
                self._writer.execute("COMMIT")
                self.problem = None
            except sqlite3.OperationalError as error:
                self._roll_back()
                self.problem = f"The journal {self.path} cannot be written: {error}"
                raise UnavailableError(JOURNAL, "journal_full", self.problem) from error
            except sqlite3.DatabaseError as error:
                self._roll_back()
                self._require_sound(error)
                raise
            except BaseException:
                self._roll_back()
                raise
            finally:
                self._depth -= 1

    def _roll_back(self) -> None:
        if self._writer.in_transaction:
            self._writer.execute("ROLLBACK")

    def _require_sound(self, error: sqlite3.DatabaseError) -> None:
        """Name the damage that a statement ran into; other errors are a statement's own."""
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)  # errors of the module itself have none
        if code & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
            raise self._cannot_open(error) from error

    def read(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        """Return all rows; never waits for a writer. Inside `write`, sees what it wrote."""
        if self._depth and self._lock.acquire(blocking=False):
            try:
                if self._depth:
                    return self._writer.execute(sql, parameters).fetchall()
            finally:
                self._lock.release()
        connection = getattr(self._readers, "connection", None)
        if connection is None:
            connection = self._connect("query_only = ON")
            self._readers.connection = connection
            with self._readers_lock:
                self._open_readers.append(connection)
        try:
            return list(connection.execute(sql, parameters))
        except sqlite3.DatabaseError as error:
            self._require_sound(error)
            raise
        except UnicodeDecodeError as error:
            raise self._damaged(str(error)) from error

    def forget_reader(self) -> None:
        """Close this thread's reading connection, if it has one; a thread that ends calls this last."""
        connection = getattr(self._readers, "connection", None)
        if connection is None:
            return
        del self._readers.connection
        with self._readers_lock:
            if connection in self._open_readers:
                self._open_readers.remove(connection)
                connection.close()

    def quick_check(self) -> str | None:
        """Return what is damaged, or None."""
        problems = [row[0] for row in self.read("PRAGMA quick_check(5)")]
        return None if problems == ["ok"] else "; ".join(problems)

    def backup(self, destination: Path) -> None:
        """Write a consistent copy of the journal to `destination`, replacing an older one there.

        Raises
        ------
        UnavailableError
            There is no room for it.
        JournalError
            The journal is damaged; what was backed up before stays.
        """
        partial = destination.with_name(destination.name + ".part")
        partial.unlink(missing_ok=True)
        try:
            with self._lock:
                self._writer.execute("VACUUM INTO ?", (os.fspath(partial),))
        except sqlite3.DatabaseError as error:
            partial.unlink(missing_ok=True)
            self._require_sound(error)
            raise UnavailableError(JOURNAL, "journal_full", f"{destination} cannot be written: {error}") from error
        partial.chmod(0o600)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(destination)

    def close(self) -> None:
        """Close every connection; the last one folds the write-ahead log back into the file."""
        with self._readers_lock:
            for reader in self._open_readers:
                reader.close()
            self._open_readers.clear()
        with self._lock:
            self._writer.close()
