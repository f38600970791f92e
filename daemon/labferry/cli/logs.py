"""`labferry logs`: the daemon's log, of one session or of all.

Room: cli. Asks the daemon; when none runs, reads the file it left, which is when a log is needed most.
"""

from __future__ import annotations

import os
from typing import Any

import click

from labferry.cli import human, log_file
from labferry.cli.options import asks_daemon, typed_session
from labferry.cli.output import answer, answer_each, bad, dim, quoted, strong, warn
from labferry.control.client import ControlClient
from labferry.errors import ExitCode, LabferryError

LINES = 100
_COLOURS = {"debug": dim, "warning": warn, "error": bad, "critical": bad}
_PLACED = frozenset({"at", "level", "event", "exception"})


@click.command("logs")
@click.argument("session", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is logged from now on, until Ctrl-C.")
@click.option("-n", "--lines", default=LINES, show_default=True, type=click.IntRange(min=0), help="How many.")
@asks_daemon
def logs(client: ControlClient, as_json: bool, session: str | None, follow: bool, lines: int) -> None:
    """Show the daemon's log, of SESSION (a path, subject/date/number or an eid) or of all.

    With --follow and --json one object per line, not in an envelope.
    """
    typed = typed_session(session) if session else None
    try:
        records = client.stream("/v1/logs", session=typed, lines=lines, follow=follow)
        if follow:
            answer_each(records, as_json, record_line)
        else:
            answer({"records": list(records)}, as_json, _lines)
    except LabferryError as error:
        path = log_file.find(click.get_current_context().params["config"], os.environ)
        left = log_file.last_records(path, typed, lines)
        if follow or left is None or error.exit_code is not ExitCode.NOT_RUNNING:
            raise
        if not as_json:
            click.echo(f"{error.message} This is what it left in {path}:", err=True)
        answer({"records": left}, as_json, _lines)


def record_line(record: dict[str, Any]) -> str:
    """Return one record for people: time, level, event, then what belongs to it."""
    level = str(record.get("level", "info"))
    head = [dim(human.local_time(record.get("at"))), _COLOURS.get(level, str)(f"{level:7}")]
    head.append(strong(str(record.get("event", ""))))
    details = {key: value for key, value in record.items() if key not in _PLACED and value not in (None, "")}
    rest = [f"{dim(key + '=')}{quoted(str(value))}" for key, value in details.items()]
    below = str(record.get("exception", "")).splitlines()
    return "\n".join([" ".join([*head, *rest]), *below])


def _lines(data: dict[str, Any]) -> list[str]:
    return [record_line(record) for record in data["records"]] or ["Nothing is logged about this."]
