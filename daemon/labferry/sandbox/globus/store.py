"""The sandbox's Globus on disk: one SQLite file, one connection, one transaction at a time.

Room: sandbox.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

from labferry.sandbox.alyx.store import Database


class Store:
    """The database file; safe for many threads.

    Parameters
    ----------
    path : Path
        Created with all tables when missing; otherwise continued.
    """

    def __init__(self, path: Path) -> None:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.executescript(resources.files(__package__).joinpath("schema.sql").read_text("utf-8"))
        self._database = Database(connection)
        self._turn = threading.Lock()

    @contextmanager
    def transaction(self) -> Iterator[Database]:
        """Lend the connection; what is done inside is done at once or not at all."""
        with self._turn, self._database.transaction():
            yield self._database

    def close(self) -> None:
        """Close the file."""
        with self._turn:
            self._database.close()
