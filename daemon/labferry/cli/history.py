"""`labferry history` and `labferry follow`: what happened, and what happens now.

Room: cli.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import click

from labferry.cli import human
from labferry.cli.options import asks_daemon, typed_session
from labferry.cli.output import answer, answer_each, bad, dim, good, indented, strong, table, warn
from labferry.control.client import ControlClient

_COLOURS = {"done": good, "registered": good, "archived": good, "verified": good, "waiting": warn, "blocked": bad}


@click.command("history")
@click.argument("session")
@asks_daemon
def history(client: ControlClient, as_json: bool, session: str) -> None:
    """Show what happened to SESSION: a path, subject/date/number or an eid. Oldest first."""
    found = client.get("/v1/history", session=typed_session(session))
    answer(found, as_json, lambda data: _history_lines(data, time.time()))


@click.command("follow")
@click.option("--since", type=int, metavar="ID", help="Begin after this event; else with the next one.")
@asks_daemon
def follow(client: ControlClient, as_json: bool, since: int | None) -> None:
    """Show events as they happen, until Ctrl-C. With --json one object per line, not in an envelope."""
    answer_each(client.stream("/v1/events", since=since, follow=True, progress=True), as_json, _event_line)


def _history_lines(data: dict[str, Any], now: float) -> Iterator[str]:
    yield f"{strong(data['path'])}"
    yield from indented(table(["when", "what", "", "why"], [_event_cells(event) for event in data["events"]]))
    failed = [attempt for attempt in data.get("attempts", []) if attempt["outcome"] not in {None, "done"}]
    if failed:
        yield ""
        yield strong("Attempts that did not succeed")
        yield from indented(
            table(["when", "job", "what", "outcome", "why"], [_attempt_cells(attempt, now) for attempt in failed])
        )
        for attempt in failed:
            if attempt.get("detail"):
                yield ""
                yield from indented(attempt["detail"].splitlines())


def _event_cells(event: dict[str, Any]) -> list[str]:
    return [human.local_time(event["at"]), event["action"], _change(event), event.get("code") or ""]


def _attempt_cells(attempt: dict[str, Any], now: float) -> list[str]:
    what = " ".join(filter(None, (attempt["kind"], attempt["stage"], attempt["target"])))
    return [human.ago(attempt["started_at"], now), str(attempt["job"]), what, attempt["outcome"], attempt["code"]]


def _change(event: dict[str, Any]) -> str:
    before, after = event.get("from"), event.get("to")
    if not after:
        return ""
    coloured = _COLOURS.get(after, str)(after)
    return f"{before} → {coloured}" if before and before != after else coloured


def _event_line(event: dict[str, Any]) -> str:
    if event["action"] == "progress":
        transfer = event["transfer"]
        said = f"{human.progress(transfer)} to {transfer['target']}"
        return "  ".join([dim(human.local_time(event["at"])), "progress", said, event.get("path") or ""])
    parts = [dim(human.local_time(event["at"])), event["action"], _change(event), event.get("code") or ""]
    return "  ".join(part for part in (*parts, event.get("path") or "") if part)
