"""The order of events: sandbox, daemon, rig; watching until all is archived; comparing as a user; the result.

Room: cli. Whatever happens on the way, every process, thread and temporary file of the demo is gone at the end.
"""

from __future__ import annotations

import contextlib
import json
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labferry.cli.demonstration.comparison import Compared, doubled
from labferry.cli.demonstration.daemon import Daemon
from labferry.cli.demonstration.observer import Observer
from labferry.cli.demonstration.place import demo_directory
from labferry.cli.demonstration.plain import View
from labferry.cli.demonstration.recording import Recording
from labferry.cli.demonstration.story import DAEMON, Line, Row, Story
from labferry.cli.demonstration.summary import Result, Unfinished, opening
from labferry.errors import LabferryError
from labferry.model import SessionState
from labferry.sandbox.rig import RigSession
from labferry.sandbox.run import Sandbox

DAEMON_LOG = "daemon.log"
PATIENCE = 90.0  # seconds beyond three times what the rig needs to write
_LOOK_EVERY = 0.15


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the operator asked for.

    Attributes
    ----------
    sessions : int
    speed : float
        Of the rig; 1 is the demo's own pace.
    keep : Path or None
        Where everything stays afterwards.
    with_one : bool
        Compare through the ONE-api client.
    """

    sessions: int
    speed: float
    keep: Path | None
    with_one: bool


def perform(wishes: Wishes, make_view: Callable[[Callable[[], float]], View]) -> Result:
    """Run the whole demo and return what it came to.

    Raises
    ------
    LabferryError
        It could not be run; what went wrong with a session is in the result instead.
    KeyboardInterrupt
        The operator ended it.
    """
    if wishes.with_one:
        from labferry.cli.demonstration.one_check import require_one

        require_one()
    started_at = time.monotonic()
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(demo_directory(wishes.keep))
        sandbox = stack.enter_context(Sandbox(directory))
        recording = Recording(sandbox.places.watch_root, wishes.sessions, wishes.speed)
        stack.callback(recording.stop)
        view = make_view(lambda: time.monotonic() - started_at)
        stack.callback(view.close)
        daemon = Daemon(
            sandbox.config,
            sandbox.places.socket,
            directory / DAEMON_LOG,
            lambda text, tone: view.line(Line(DAEMON, text, tone)),
        )
        stack.callback(daemon.stop)
        stack.callback(_undisturbed)
        view.note(opening(wishes.sessions, sandbox.places.socket))
        course = _Course(sandbox, recording, daemon, view)
        course.watch()
        unfinished = course.unfinished()
        problems = course.compare(_comparing(wishes, directory, sandbox))
        return Result.of(
            course.story,
            wished=wishes.sessions,
            verified_by="ONE" if wishes.with_one else "download",
            doubled=doubled(_state(sandbox)),
            unfinished=unfinished,
            problems=problems,
            restarts=daemon.starts - 1,
            duration_s=time.monotonic() - started_at,
            kept=wishes.keep and directory,
        )


class _Course:
    """One demo under way."""

    def __init__(self, sandbox: Sandbox, recording: Recording, daemon: Daemon, view: View) -> None:
        self.story = Story(recording.sessions)
        self._sandbox = sandbox
        self._recording = recording
        self._daemon = daemon
        self._view = view
        self._observer = Observer(daemon.client, self.story, view.line)

    def watch(self) -> None:
        """Start everything and look on until nothing more is to be expected."""
        self._daemon.start()
        self._recording.start()
        deadline = time.monotonic() + 3 * self._recording.expected_s + PATIENCE
        while not self._is_over() and time.monotonic() < deadline:
            time.sleep(_LOOK_EVERY)
            for event in self._recording.events():
                self._tell(self.story.recording(event))
            self._daemon.keep_alive()
            if self._daemon.answers():
                self._observer.look()
            self._view.refresh(self.story)
        self._observer.look()  # what happened while the last answer was on its way

    def unfinished(self) -> list[Unfinished]:
        """Ask the daemon about every session that is not archived."""
        return [self._explained(row) for row in self.story.rows.values() if row.state != SessionState.ARCHIVED]

    def compare(self, compare: Callable[[Sequence[RigSession]], Iterator[Compared]]) -> list[str]:
        """Compare what is archived, as a user would; return the first words on everything that is not right."""
        problems = []
        archived = [row.session for row in self.story.rows.values() if row.state == SessionState.ARCHIVED]
        for one in compare(archived):
            if one.problem:
                problems.append(f"{one.session.relative}/{one.path}: {one.problem}")
            self._tell(self.story.compared(one.session.relative, one.problem))
            self._daemon.keep_alive()
            self._view.refresh(self.story)
        return problems

    def _is_over(self) -> bool:
        rows = self.story.rows.values()
        over = all(row.state == SessionState.ARCHIVED or row.is_blocked for row in rows)
        return over and not self._recording.writing

    def _explained(self, row: Row) -> Unfinished:
        path = str(self._sandbox.places.watch_root / row.name)
        try:
            return Unfinished(path, self._observer.explain(path))
        except LabferryError as error:
            return Unfinished(path, {"verdict": error.code, "message": error.message, "hint": error.hint})

    def _tell(self, lines: Iterator[Line]) -> None:
        for line in lines:
            self._view.line(line)


def _comparing(
    wishes: Wishes, directory: Path, sandbox: Sandbox
) -> Callable[[Sequence[RigSession]], Iterator[Compared]]:
    """Return the user: by plain HTTP, or with ONE."""
    password = sandbox.password_file.read_text("utf-8").strip()
    login = sandbox.alyx_user, password, sandbox.places.watch_root
    if wishes.with_one:
        from labferry.cli.demonstration import one_check

        return lambda sessions: one_check.compare(directory, sandbox.alyx_url, sandbox.data_url, *login, sessions)
    from labferry.cli.demonstration import download

    return lambda sessions: download.compare(sandbox.alyx_url, *login, sessions)


def _state(sandbox: Sandbox) -> dict[str, Any]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{sandbox.alyx_url}/_sandbox/state") as answer:
        state: dict[str, Any] = json.load(answer)
    return state


def _undisturbed() -> None:
    """Let nobody interrupt the clearing up; it takes seconds at most."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
