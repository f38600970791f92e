"""`labferry wait`: come back when a session has got as far as a script needs it.

Room: cli. Looks once, then listens to the daemon's events and looks again when one is about the session: however long
it waits, an idle daemon is not asked. A daemon that is restarted is waited for, too.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import click

from labferry.cli import human
from labferry.cli.options import DURATION, asks_daemon, typed_session
from labferry.cli.output import answer, bad, good, strong, warn
from labferry.cli.sessions import state_text
from labferry.control.client import ControlClient
from labferry.control.diagnosis import ControlError
from labferry.errors import ExitCode, LabferryError
from labferry.model import JobState, SessionState, utc_seconds

# How far a session must be for each state; every other state must be the session's own.
_MOMENTS = {"complete": "complete_at", "registered": "registered_at", "archived": "archived_at"}
_AWAY = frozenset({"daemon_not_running", "daemon_busy", "busy"})
AGAIN_SOONEST, AGAIN_LATEST = 0.1, 2.0  # seconds between two tries to reach a daemon that is away
SCAN_GRACE = 0.5  # seconds that a scan may last
LONGEST_SCAN_PAUSE = 60.0  # seconds until a session that no scan has found yet is asked for again


class Deadline:
    """How long may be waited; for ever without a time-out."""

    def __init__(self, timeout: float | None) -> None:
        self._began = time.monotonic()
        self._timeout = timeout

    @property
    def left(self) -> float | None:
        """Seconds that are left, at least 0; None for ever."""
        return None if self._timeout is None else max(0.0, self._timeout - self.waited)

    @property
    def waited(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began

    def sleep(self, seconds: float) -> None:
        """Sleep, but not beyond the end."""
        time.sleep(seconds if self.left is None else min(seconds, self.left))


@click.command("wait")
@click.argument("session")
@click.option(
    "--for",
    "state",
    type=click.Choice([state.value for state in SessionState]),
    default=SessionState.ARCHIVED.value,
    show_default=True,
    help="Until it is this, or further.",
)
@click.option("--timeout", type=DURATION, help="At most so long: 90s, 10m, 2h, or a number of seconds; else for ever.")
@asks_daemon
def wait(client: ControlClient, as_json: bool, session: str, state: str, timeout: float | None) -> None:
    """Wait until SESSION has reached a state; a restart of the daemon does not end it.

    SESSION is a path, subject/date/number or an eid; a folder that no scan has found yet is waited for. Ends with 0
    when the state is reached, with 75 when the time is over, and with 3 at once when a person must act first.
    """
    deadline = Deadline(timeout)
    found = until(client, typed_session(session), state, deadline)
    reached = _is(found, state)
    data = {**found, "wanted": state, "reached": reached, "waited_s": round(deadline.waited, 3)}
    answer(data, as_json, _lines)
    click.get_current_context().exit(ExitCode.OK if reached else ExitCode.ATTENTION)


def until(client: ControlClient, session: str, state: str, deadline: Deadline) -> dict[str, Any]:
    """Return the session when it is as far as wanted, or blocked; raise `wait_timeout` when the time is over."""
    found = _first_look(client, session, deadline)
    pause = AGAIN_SOONEST
    while not (_is(found, state) or _is_blocked(found)):
        if deadline.left == 0.0:
            raise _over(found, state, deadline)
        try:
            _next_event(client, found, deadline)
            found = client.get(f"/v1/sessions/{found['id']}")
            pause = AGAIN_SOONEST
        except LabferryError as error:
            if error.code not in _AWAY:
                raise
            deadline.sleep(pause)
            pause = min(2 * pause, AGAIN_LATEST)
    return found


def _first_look(client: ControlClient, session: str, deadline: Deadline) -> dict[str, Any]:
    """Return the session; one that the next scan will find is waited for."""
    while (found := _if_known(client, session)) is None:
        about = client.get("/v1/explain", path=session)
        if about["code"] != "not_seen_yet" or about["verdict"] == "inside_session" or deadline.left == 0.0:
            met: dict[str, Any] = client.get("/v1/session", q=session)  # found meanwhile, or refused by its name
            return met
        due = utc_seconds(about["next"]["at"]) - time.time()
        deadline.sleep(min(max(0.0, due), LONGEST_SCAN_PAUSE) + SCAN_GRACE)
    return found


def _if_known(client: ControlClient, session: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = client.get("/v1/session", q=session)
    except LabferryError as error:
        if error.code != "no_such_session":
            raise
        return None
    return found


def _next_event(client: ControlClient, found: dict[str, Any], deadline: Deadline) -> None:
    """Return when something happened to the session after it was looked at, or when the time is over."""
    events = client.stream("/v1/events", within=deadline.left, since=found["last_event"], follow=True)
    for event in events:
        if event["session"] == found["id"]:
            return


def _is(found: dict[str, Any], state: str) -> bool:
    """Say whether a session is as far as wanted; what was reached stays so while a later generation is under way."""
    if found["state"] == state:
        return True
    moments = list(_MOMENTS)
    later = moments[moments.index(state) :] if state in _MOMENTS else []
    return any(found.get(_MOMENTS[one]) for one in later)


def _is_blocked(found: dict[str, Any]) -> bool:
    return any(job["state"] == JobState.BLOCKED for job in found["jobs"])


def _over(found: dict[str, Any], state: str, deadline: Deadline) -> ControlError:
    waits = found.get("waits") or {}
    why = f" ({waits['message']})" if waits.get("message") else ""
    return ControlError(
        "wait_timeout",
        f"After {human.duration(deadline.waited)} {found['path']} is {found['state']}{why}, not {state}.",
        f"`labferry explain {found['path']}` says what it waits for.",
        ExitCode.TRY_LATER,
    )


def _lines(found: dict[str, Any]) -> Iterator[str]:
    yield f"{strong(found['path'])}  {state_text(found)}"
    if found["reached"]:
        yield good(f"{found['wanted']}, after {human.duration(found['waited_s'])}")
        return
    blocked = next(job for job in found["jobs"] if job["state"] == JobState.BLOCKED)
    yield f"{bad('needs a person:')} {blocked['code']}: {blocked['reason']}"
    if blocked.get("hint"):
        yield f"{warn('hint:')} {blocked['hint']}"
