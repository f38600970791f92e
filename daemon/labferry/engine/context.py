"""What every stage works with, put together once by the service."""

from __future__ import annotations

import os
from dataclasses import dataclass

import structlog

from labferry.alyx.client import AlyxClient
from labferry.alyx.people import People
from labferry.alyx.vocabulary import CachedVocabulary, VocabularySnapshot
from labferry.config import Config, Root
from labferry.engine.dependencies import Dependencies
from labferry.engine.globus.access import GlobusAccess
from labferry.engine.speed import Speeds
from labferry.engine.wakeup import Wakeup
from labferry.errors import NotYetError
from labferry.journal import Journal
from labferry.journal.rows import JobRow, SessionRow
from labferry.model import Clock, show_path
from labferry.sessions.registry import layout
from labferry.sessions.session import Session

_log = structlog.get_logger()
ALYX = "alyx"
GLOBUS = "globus"
SOONEST_LOOK, LATEST_LOOK = 60.0, 3600.0  # seconds between two looks for a folder that is not there …
PATIENCE = 0.25  # … and this part of the time for which it has been away


@dataclass(frozen=True, slots=True)
class Context:
    """The rooms and the journal, as the lanes use them.

    Attributes
    ----------
    globus : GlobusAccess or None
        Opens a client of Globus for each lane, and for whoever looks on behalf of an operator: a lane must never wait
        for such a look. None where no archive is reached through Globus.
    """

    config: Config
    journal: Journal
    clock: Clock
    alyx: AlyxClient
    vocabulary: CachedVocabulary
    people: People
    dependencies: Dependencies
    wakeup: Wakeup
    speeds: Speeds
    globus: GlobusAccess | None = None

    def session_of(self, job: JobRow) -> SessionRow:
        """Return the session a job is about."""
        row = self.journal.sessions.get(job.session_id)
        assert row is not None, "jobs refer to sessions by foreign key"
        return row

    def root_of(self, session: SessionRow) -> Root:
        """Return the configured root of a session.

        Raises
        ------
        NotYetError
            The root is not configured any more.
        """
        for root in self.config.roots:
            if root.name == session.root:
                return root
        raise NotYetError("root_unknown", f"root {session.root} is not in the configuration any more", 3600.0)

    def place_of(self, session: SessionRow) -> bytes:
        """Return where a session's folder is, or would be; raises as `root_of` does."""
        return os.path.join(os.fsencode(self.root_of(session).path), session.path)

    def folder_of(self, session: SessionRow) -> bytes:
        """Return the absolute path of a session's folder.

        Raises
        ------
        NotYetError
            It is not there now.
        """
        folder = self.place_of(session)
        if not os.path.isdir(folder):
            raise NotYetError("source_missing", f"{show_path(folder)} is not there", self._next_look(session))
        return folder

    def _next_look(self, session: SessionRow) -> float:
        """Return the seconds until a missing folder is looked for again: ever more of them, once it has vanished.

        When a scan finds it again its jobs are due at once.
        """
        away = 0.0 if session.vanished_at is None else self.clock.now() - session.vanished_at
        return min(LATEST_LOOK, max(SOONEST_LOOK, PATIENCE * away))

    def parsed(self, session: SessionRow) -> Session:
        """Return the session as its layout reads it from the path."""
        parsed = layout(session.layout).parse(session.path)
        assert isinstance(parsed, Session), "only sessions enter the journal"
        return parsed

    def alyx_path_of(self, session: SessionRow, path: bytes) -> str:
        """Return the path by which Alyx knows a file of a session in every repository."""
        return f"{self.parsed(session).alyx_path}/{os.fsdecode(path)}"

    def words(self) -> VocabularySnapshot:
        """Return Alyx' vocabulary, fetched again when it is old."""
        return self.vocabulary.get(self.alyx)

    def reachable(self, dependency: str) -> None:
        """Note that a dependency answered; work that waited for it is due at once."""
        code = self.dependencies.came_up(dependency)
        if code is not None:
            self.journal.jobs.hurry(code)
            _log.info("dependency_up", dependency=dependency)
            self.wakeup.ring()
