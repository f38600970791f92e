"""The journal as its users see it: one object, one table group per attribute.

The only shared state of the daemon. The engine's lanes and the control server use it; no other room may.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

from labferry.journal.backlog import Backlog
from labferry.journal.database import Database, JournalError, load_queries
from labferry.journal.files import Files
from labferry.journal.jobs import Jobs
from labferry.journal.probes import Probes
from labferry.journal.revisits import Revisits
from labferry.journal.rows import EventRow, RecoveryRow
from labferry.journal.sessions import Sessions
from labferry.journal.steps import Steps
from labferry.journal.tasks import Tasks
from labferry.journal.transfers import Transfers
from labferry.model import Clock, utc_text

_SQL = load_queries("events")
_RECOVERY = load_queries("recovery")
FILE = "journal.sqlite"
BACKUPS = "backups"


class Journal:
    """The open journal of one state directory.

    Parameters
    ----------
    state_dir : Path
        Must exist and be locked by this process.
    clock : Clock
        Stamps rows and events.

    Raises
    ------
    JournalError
        The file cannot be used; the message says what to do.
    """

    def __init__(self, state_dir: Path, clock: Clock) -> None:
        self._db = Database(state_dir / FILE)
        self._clock = clock
        self._backups = state_dir / BACKUPS
        self.jobs = Jobs(self._db, clock, instance=str(uuid4()))
        self.sessions = Sessions(self._db, self.jobs, clock)
        self.files = Files(self._db, clock)
        self.backlog = Backlog(self._db, self.files, clock)
        self.revisits = Revisits(self._db, self.files, clock)
        self.steps = Steps(self._db, clock)
        self.transfers = Transfers(self._db, clock)
        self.tasks = Tasks(self._db, clock)
        self.probes = Probes(self._db, clock)

    @property
    def problem(self) -> str | None:
        """Why the last write failed; None since a write succeeded."""
        return self._db.problem

    @property
    def damage(self) -> str:
        """What a statement found damaged in the file; empty while nothing was."""
        return self._db.damage

    def note_recovery(self, *, at: float, why: str, kept_as: str, backup: str, known_until: float | None) -> None:
        """Record that this journal took the place of a damaged one."""
        values = {"at": at, "why": why, "kept_as": kept_as, "backup": backup, "known_until": known_until}
        with self._db.write() as connection:
            connection.execute(_RECOVERY["record"], values)

    def recoveries(self) -> list[RecoveryRow]:
        """Return the damaged journals that were replaced, oldest first."""
        return [RecoveryRow.of(row) for row in self._db.read(_RECOVERY["all"])]

    def probe(self) -> None:
        """Try to write, so that `problem` is of now.

        Raises
        ------
        UnavailableError
            Writing still fails.
        """
        self.jobs.show_life()

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Make several writes one transaction."""
        with self._db.write():
            yield

    def history(self, session_id: int, since: int = 0, limit: int = 10_000) -> list[EventRow]:
        """Return the events of a session after event `since`, oldest first."""
        values = {"session_id": session_id, "since": since, "limit": limit}
        return [EventRow.of(row) for row in self._db.read(_SQL["of_session"], values)]

    def events(self, since: int, limit: int = 1000) -> list[EventRow]:
        """Return all events after event `since`, oldest first."""
        return [EventRow.of(row) for row in self._db.read(_SQL["since"], {"since": since, "limit": limit})]

    def last_event(self) -> int:
        """Return the id of the newest event, 0 when there is none."""
        return int(self._db.read(_SQL["last"])[0][0])

    def trim_events(self, older_than: float) -> None:
        """Forget events older than so many seconds."""
        with self._db.write() as connection:
            connection.execute(_SQL["trim"], {"before": self._clock.now() - older_than})

    def check(self) -> str | None:
        """Return what is damaged in the file, or None."""
        try:
            return self._db.quick_check()
        except JournalError as error:  # so badly that it cannot even be checked
            return error.message

    def back_up(self, keep: int) -> Path:
        """Write today's backup and remove all but the newest `keep`."""
        self._backups.mkdir(mode=0o700, exist_ok=True)
        day = (utc_text(self._clock.now()) or "")[:10]
        newest = self._backups / f"journal-{day}.sqlite"
        self._db.backup(newest)
        for old in sorted(self._backups.glob("journal-*.sqlite"))[:-keep]:
            old.unlink()
        return newest

    def forget_reader(self) -> None:
        """Close what this thread has opened for reading; a thread that ends calls this last."""
        self._db.forget_reader()

    def close(self) -> None:
        """Close the file; a clean stop is recorded by `jobs.end_life` before."""
        self._db.close()
