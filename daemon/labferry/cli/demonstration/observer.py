"""Asks the daemon what happened and how things are, and tells the story.

Room: cli. A daemon that does not answer is no failure here: it may just be starting again, and events wait for us in
its journal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from labferry.cli.demonstration.story import Line, Story, session_name
from labferry.control.client import ControlClient
from labferry.errors import ExitCode, LabferryError
from labferry.model import SessionState

_ABSENT = frozenset({ExitCode.NOT_RUNNING, ExitCode.TRY_LATER})


class Observer:
    """Follows one daemon through all its lives.

    Parameters
    ----------
    client : ControlClient
    story : Story
    say : Callable
        Told every line.
    """

    def __init__(self, client: ControlClient, story: Story, say: Callable[[Line], None]) -> None:
        self._client = client
        self._story = story
        self._say = say
        self._names: dict[int, str] = {}
        self._since = 0

    def look(self) -> None:
        """Take in what is new; nothing if the daemon does not answer.

        Raises
        ------
        LabferryError
            It answers, and not as it should.
        """
        try:
            events = self._events()
            self._sessions()
        except LabferryError as error:
            if error.exit_code in _ABSENT:
                return
            raise
        for event in events:
            self._since = event["id"]
            for line in self._story.event(self._names.get(event["session"], ""), event):
                self._say(line)

    def explain(self, path: str) -> dict[str, Any]:
        """Return why a session is where it is.

        Raises
        ------
        LabferryError
            The daemon does not answer.
        """
        explained: dict[str, Any] = self._client.get("/v1/explain", path=path)
        return explained

    def _events(self) -> list[dict[str, Any]]:
        return list(self._client.stream("/v1/events", since=self._since))

    def _sessions(self) -> None:
        """Ask for all sessions, and in full for those that are on their way."""
        for listed in self._client.get("/v1/sessions"):
            name = session_name(listed)
            self._names[listed["id"]] = name
            row = self._story.rows.get(name)
            if row is None or row.state == SessionState.ARCHIVED:
                continue
            self._story.found(self._client.get(f"/v1/sessions/{listed['id']}"))
