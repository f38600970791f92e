"""`labferry jobs` and `labferry retry`: the queue.

Room: cli.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import click

from labferry.cli import human
from labferry.cli.options import asks_daemon, typed_session
from labferry.cli.output import answer, bad, dim, good, indented, table, warn
from labferry.control.client import ControlClient
from labferry.model import JobState

_COLOURS = {"running": good, "waiting": warn, "blocked": bad, "done": good}


@click.command("jobs")
@click.option(
    "--state", type=click.Choice([state.value for state in JobState]), help="Only these; else everything unfinished."
)
@asks_daemon
def jobs(client: ControlClient, as_json: bool, state: str | None) -> None:
    """List the work that is queued, running, waiting or blocked."""
    answer(client.get("/v1/jobs", state=state), as_json, lambda found: _job_list(found, state, time.time()))


@click.command("retry")
@click.argument("session", required=False)
@click.option("--all", "every", is_flag=True, help="Every session that needs a person.")
@click.option("--code", metavar="CODE", help="With --all: only those that need one for this reason.")
@asks_daemon
def retry(client: ControlClient, as_json: bool, session: str | None, every: bool, code: str | None) -> None:
    """Try blocked or waiting work again now, of SESSION or of all sessions that need a person.

    SESSION is a path, subject/date/number or an eid.
    """
    if every == bool(session):
        raise click.UsageError("Name a SESSION, or give --all.", click.get_current_context())
    if code and not every:
        raise click.UsageError("--code goes with --all.", click.get_current_context())
    what: dict[str, object] = {"all": True, "code": code} if session is None else {"session": typed_session(session)}
    answer(client.post("/v1/jobs/retry", what), as_json, _retried_lines)


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


def _retried_lines(data: dict[str, Any]) -> Iterator[str]:
    jobs, settling = len(data["jobs"]), data.get("sessions", 0)
    if jobs:
        yield f"{human.plural(jobs, 'job')} queued again; `labferry jobs` shows what becomes of it."
    if settling:
        yield f"{human.plural(settling, 'session')} looked at again from the beginning, for the files left out."
    if not jobs and not settling:
        yield "Nothing is blocked or waiting here."
