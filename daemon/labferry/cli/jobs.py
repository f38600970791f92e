"""`labferry jobs`, `retry`, `cancel`, `hold`, `release`: the queue, and an operator's hand on it.

Room: cli.
"""

from __future__ import annotations

import functools
import os
import shlex
import time
from collections.abc import Callable, Iterator
from typing import Any

import click

from labferry.cli import human
from labferry.cli.options import asks_daemon, typed_session
from labferry.cli.output import answer, bad, dim, good, indented, table, warn
from labferry.control.client import ControlClient
from labferry.model import JobState, show_path

_COLOURS = {"running": good, "waiting": warn, "blocked": bad, "done": good}


@click.command("jobs")
@click.option(
    "--state", type=click.Choice([state.value for state in JobState]), help="Only these; else everything unfinished."
)
@asks_daemon
def jobs(client: ControlClient, as_json: bool, state: str | None) -> None:
    """List the work that is queued, running, waiting or blocked."""
    answer(client.get("/v1/jobs", state=state), as_json, lambda found: _job_list(found, state, time.time()))


Lines = Callable[[dict[str, Any], str], Iterator[str]]


def about_sessions(every: str, lines: Lines) -> Callable[..., Callable[..., None]]:
    """Give a command SESSION, --all and --code; it returns the route and its answer is printed by `lines`.

    `every` says in its help which sessions --all means. `lines` is told what to type for the session in another
    command: empty where none was named.
    """

    def decorate(route_of: Callable[[], str]) -> Callable[..., None]:
        @click.argument("session", required=False)
        @click.option("--all", "everything", is_flag=True, help=every)
        @click.option("--code", metavar="CODE", help="With --all: only those with this reason.")
        @asks_daemon
        @functools.wraps(route_of)
        def command(
            client: ControlClient, as_json: bool, session: str | None, everything: bool, code: str | None
        ) -> None:
            if everything == bool(session):
                raise click.UsageError("Name a SESSION, or give --all.", click.get_current_context())
            if code and not everything:
                raise click.UsageError("--code goes with --all.", click.get_current_context())
            named = typed_session(session) if session else ""
            what: dict[str, object] = {"session": named} if named else {"all": True, "code": code}
            again = shlex.quote(show_path(os.fsencode(named))) if named else ""
            answer(client.post(route_of(), what), as_json, lambda data: lines(data, again))

        return command

    return decorate


def _retried_lines(data: dict[str, Any], _: str) -> Iterator[str]:
    jobs, settling, asked = len(data["jobs"]), data.get("sessions", 0), data.get("asked", 0)
    if jobs:
        yield f"{human.plural(jobs, 'job')} queued again; `labferry jobs` shows what becomes of it."
    if settling:
        yield f"{human.plural(settling, 'session')} looked at again from the beginning, for the files left out."
    if asked:
        yield f"{human.plural(asked, 'session')} of old: Alyx is asked again what it has of them."
    if not jobs and not settling and not asked:
        yield "Nothing is blocked or waiting here."


def _cancelled_lines(data: dict[str, Any], session: str) -> Iterator[str]:
    jobs = len(data["jobs"])
    if not jobs:
        yield "No work is unfinished here."
        return
    yield f"{human.plural(jobs, 'job')} cancelled, until `labferry retry {session or 'SESSION'}`."


def _held_lines(data: dict[str, Any], session: str) -> Iterator[str]:
    yield f"{human.plural(data['sessions'], 'session')} held: left alone until `labferry release {session or '--all'}`."


def _released_lines(data: dict[str, Any], _: str) -> Iterator[str]:
    yield f"{human.plural(data['sessions'], 'session')} released."


@click.command("retry")
@about_sessions("Every session that needs a person.", _retried_lines)
def retry() -> str:
    """Try blocked or waiting work again now, of SESSION or of all sessions that need a person.

    SESSION is a path, subject/date/number or an eid.
    """
    return "/v1/jobs/retry"


@click.command("cancel")
@about_sessions("Every session with unfinished work.", _cancelled_lines)
def cancel() -> str:
    """End the unfinished work of SESSION, until `labferry retry` or until its files change.

    SESSION is a path, subject/date/number or an eid.
    """
    return "/v1/jobs/cancel"


@click.command("hold")
@about_sessions("Every session with unfinished work.", _held_lines)
def hold() -> str:
    """Leave SESSION alone: what is at hand is finished, nothing more is begun until `labferry release`.

    SESSION is a path, subject/date/number or an eid.
    """
    return "/v1/jobs/hold"


@click.command("release")
@about_sessions("Every session that is held.", _released_lines)
def release() -> str:
    """Go on with a SESSION that was held.

    SESSION is a path, subject/date/number or an eid.
    """
    return "/v1/jobs/release"


def job_rows(found: list[dict[str, Any]], now: float) -> list[list[str]]:
    """Return the cells of jobs: id, what, state, tries, when next, why."""
    return [
        [
            str(job["id"]),
            " ".join(filter(None, (job["kind"], job.get("target")))),
            _COLOURS.get(job["state"], str)(job["state"]),
            str(job.get("attempts", "")),
            human.ago(job["next_at"], now) if job.get("next_at") else "",
            ": ".join(filter(None, (job.get("code"), job.get("reason")))),
        ]
        for job in found
    ]


def _job_list(found: list[dict[str, Any]], state: str | None, now: float) -> Iterator[str]:
    if not found:
        yield f"No job is {state}." if state else "No work is left: every job is done."
        return
    rows = [
        [*row[:3], str(job.get("path", "")), *row[3:]] for row, job in zip(job_rows(found, now), found, strict=True)
    ]
    yield from table(["job", "what", "state", "session", "tries", "next try", "why"], rows, right=(0, 4))
    hints = {job["code"]: job["hint"] for job in found if job["state"] == JobState.BLOCKED and job.get("hint")}
    if hints:
        yield ""
        yield "What to do:"
        yield from indented(table(["", ""], [[code, hint] for code, hint in hints.items()]))
        yield from indented([dim("labferry retry --all --code CODE tries all of one kind again")])
