"""The sandbox's tables: SQLite in one file, every statement its own transaction.

Room: sandbox. There is no transaction around a request on purpose: the real server has none either, so a
batch that fails stays half done and two requests at once interleave.
"""

from __future__ import annotations

import json
import queue
import sqlite3
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

Value = str | int | float | None
Row = sqlite3.Row


class Database:
    """One connection: what a request works with."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def all(self, sql: str, *values: Value) -> list[Row]:
        """Return every row."""
        return self._connection.execute(sql, values).fetchall()

    def one(self, sql: str, *values: Value) -> Row | None:
        """Return the first row, or None."""
        row: Row | None = self._connection.execute(sql, values).fetchone()
        return row

    def column(self, sql: str, *values: Value) -> list[str]:
        """Return the first column of every row, as text."""
        return [str(row[0]) for row in self._connection.execute(sql, values)]

    def count(self, sql: str, *values: Value) -> int:
        """Return the first value of the first row as a number."""
        row = self.one(sql, *values)
        return int(row[0]) if row else 0

    def run(self, sql: str, *values: Value) -> None:
        """Execute one statement; it is committed when this returns."""
        self._connection.execute(sql, values)

    def insert(self, table: str, values: Mapping[str, Value]) -> None:
        """Add a row.

        Raises
        ------
        sqlite3.IntegrityError
            It breaks a constraint.
        """
        names = ", ".join(f'"{name}"' for name in values)
        marks = ", ".join("?" * len(values))
        self.run(" ".join(["INSERT INTO", table, f"({names})", f"VALUES ({marks})"]), *values.values())

    def update(self, table: str, key: tuple[str, Value], values: Mapping[str, Value]) -> None:
        """Change the columns of the row whose column `key[0]` is `key[1]`."""
        if values:
            changes = ", ".join(f'"{name}" = ?' for name in values)
            self.run(" ".join(["UPDATE", table, "SET", changes, "WHERE", key[0], "= ?"]), *values.values(), key[1])

    def replace_links(self, table: str, owner: tuple[str, str], other: str, names: Sequence[str]) -> None:
        """Make the many-to-many `table` link `owner` to exactly `names`."""
        self.run(" ".join(["DELETE FROM", table, "WHERE", owner[0], "= ?"]), owner[1])
        for name in dict.fromkeys(names):
            self.insert(table, {owner[0]: owner[1], other: name})

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what is done inside at once; for seeding, which no request sees half done."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def close(self) -> None:
        """Give the connection back to the system."""
        self._connection.close()


class Store:
    """The database file, and its connections for many threads.

    Parameters
    ----------
    path : Path
        Created with all tables when missing; otherwise continued.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: queue.LifoQueue[Database] = queue.LifoQueue()
        connection = self._connect()
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(resources.files(__package__).joinpath("schema.sql").read_text("utf-8"))
        self._idle.put(Database(connection))

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=30.0, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    @contextmanager
    def database(self) -> Iterator[Database]:
        """Lend a connection that nobody else uses meanwhile."""
        try:
            database = self._idle.get_nowait()
        except queue.Empty:
            database = Database(self._connect())
        try:
            yield database
        finally:
            self._idle.put(database)

    def close(self) -> None:
        """Close every idle connection."""
        while not self._idle.empty():
            self._idle.get_nowait().close()


def new_id() -> str:
    """Return a random UUID, the primary key of every record."""
    return str(uuid.uuid4())


def to_json(value: object) -> str | None:
    """Return what a JSON column stores: None stays NULL."""
    return None if value is None else json.dumps(value)


def from_json(text: str | None) -> object:
    """Return the value of a JSON column."""
    return None if text is None else json.loads(text)
