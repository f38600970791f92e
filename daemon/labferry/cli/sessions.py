"""`labferry sessions` and `labferry show`: the list, and everything about one session.

Room: cli.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import click

from labferry.cli import human
from labferry.cli.evidence import evidence_lines
from labferry.cli.jobs import job_rows
from labferry.cli.options import asks_daemon, typed_session
from labferry.cli.output import answer, bad, dim, good, indented, strong, table, warn
from labferry.control.client import ControlClient
from labferry.model import SessionState

STATES = [*(state.value for state in SessionState), "attention"]
_COLOURS = {"archived": good, "registered": good, "vanished": warn, "held": warn}


@click.command("sessions")
@click.option("--state", type=click.Choice(STATES), help="Only these; `attention`: those that need a person.")
@click.option("--subject", metavar="NAME", help="Only this subject's.")
@click.option("--since", metavar="DATE", help="Only those recorded on this day (YYYY-MM-DD) or later.")
@click.option("--root", metavar="NAME", help="Only those below this root.")
@asks_daemon
def sessions(
    client: ControlClient,
    as_json: bool,
    state: str | None,
    subject: str | None,
    since: str | None,
    root: str | None,
) -> None:
    """List sessions, by state, subject, date or root."""
    found = client.get("/v1/sessions", state=state, subject=subject, since=since, root=root)
    answer(found, as_json, lambda data: _session_list(data, time.time()))


@click.command("show")
@click.argument("session")
@asks_daemon
def show(client: ControlClient, as_json: bool, session: str) -> None:
    """Show everything known about SESSION: a path, subject/date/number or an eid."""
    found = client.get("/v1/session", q=typed_session(session))
    answer(found, as_json, lambda data: _session_lines(data, time.time()))


def state_text(session: dict[str, Any]) -> str:
    """Return a session's state in its colour."""
    colour = bad if session.get("attention") else _COLOURS.get(session["state"], str)
    return colour(session["state"])


# --- the list ---------------------------------------------------------------------------------------------


def _session_list(found: list[dict[str, Any]], now: float) -> Iterator[str]:
    if not found:
        yield "No session."
        return
    header = ["state", "subject", "date", "number", "root", "since", "needs"]
    yield from table(header, [_row(session, now) for session in found], right=(3,))
    needy = [session for session in found if session.get("attention")]
    yield ""
    yield f"{human.plural(len(found), 'session')}, {_needy(len(needy))}."
    if needy:
        yield dim(f"labferry explain {needy[0]['path']}")


def _row(session: dict[str, Any], now: float) -> list[str]:
    return [
        state_text(session),
        session["subject"],
        session["date"],
        f"{session['number']:03d}",
        session["root"],
        human.age(_reached(session), now),
        _needs(session, now),
    ]


def _needs(session: dict[str, Any], now: float) -> str:
    """Return why a session needs a person, else what it waits for and how long already."""
    if session.get("attention"):
        return ": ".join(filter(None, (session["attention"].get("code"), session["attention"].get("message"))))
    return _waiting(session["waits"], now) if session.get("waits") else ""


def _waiting(waits: dict[str, Any], now: float) -> str:
    return f"{waits['code']}: {waits['message']} (for {human.age(waits.get('since'), now)})"


def _reached(session: dict[str, Any]) -> str | None:
    """Return when the session got as far as it is."""
    for moment in ("archived_at", "registered_at", "complete_at", "first_seen"):
        if session.get(moment):
            return str(session[moment])
    return None


def _needy(count: int) -> str:
    if count == 0:
        return "none needs a person"
    return f"{count} of them {'needs' if count == 1 else 'need'} a person"


# --- one session ------------------------------------------------------------------------------------------


def _session_lines(session: dict[str, Any], now: float) -> Iterator[str]:
    yield f"{strong(session['path'])}  {state_text(session)}"
    attention = session.get("attention")
    if attention:
        yield f"{bad('needs a person:')} {attention['code']}: {attention['message']}"
        if attention.get("hint"):
            yield f"{warn('hint:')} {attention['hint']}"
    if session.get("waits"):
        yield f"{warn('waits:')} {_waiting(session['waits'], now)}"
    if session.get("history"):
        old = session["history"]
        yield f"{warn('history:')} {': '.join(filter(None, (old['standing'], old['code'], old['message'])))}"
    yield ""
    yield from table(["", ""], [[dim(name), value] for name, value in _facts(session, now) if value])
    if session.get("jobs"):
        yield ""
        yield strong("Jobs")
        yield from indented(
            table(["job", "what", "state", "tries", "next try", "why"], job_rows(session["jobs"], now), right=(0, 3))
        )
    if session.get("transfers"):
        yield ""
        yield strong("Transfers")
        yield from indented(
            table(["to", "state", "files", "size", "speed", "left", "where"], map(_transfer, session["transfers"]))
        )
        yield from indented(evidence_lines(session["transfers"]))
    if session.get("remarks"):
        yield ""
        yield strong("Remarks")
        yield from indented(table(["", ""], [[dim(one["code"]), one["text"]] for one in session["remarks"]]))


def _facts(session: dict[str, Any], now: float) -> Iterator[tuple[str, str]]:
    yield "subject", session["subject"]
    yield "date, number", f"{session['date']}, {session['number']}"
    yield "lab", session.get("lab") or ""
    yield "eid", session.get("eid") or ""
    yield "root, layout", f"{session['root']}, {session['layout']}"
    for name, key in (
        ("first seen", "first_seen"),
        ("signal seen", "signal_seen_at"),
        ("complete", "complete_at"),
        ("registered", "registered_at"),
        ("archived", "archived_at"),
        ("held", "held_at"),
        ("left out", "excluded_at"),
        ("vanished", "vanished_at"),
    ):
        moment = session.get(key)
        yield name, f"{human.local_time(moment)}  ({human.ago(moment, now)})" if moment else ""
    yield "files", _files(session.get("files") or {})


def _files(files: dict[str, Any]) -> str:
    """Return the files in one line: how many, how far, and what is left out."""
    if not files.get("total"):
        return ""
    parts = [f"{files['total']:,} ({human.size(files.get('bytes', 0))}), {files.get('datasets', 0):,} datasets"]
    parts += [f"{files[key]:,} {key}" for key in ("registered", "archived") if files.get(key)]
    if files.get("unmatched"):
        parts.append(f"{files['unmatched']:,} not asked for ({human.size(files.get('unmatched_bytes', 0))})")
    parts += [bad(f"{files[key]:,} {key}") for key in ("rejected", "changed") if files.get(key)]
    return ", ".join(parts)


def _transfer(transfer: dict[str, Any]) -> list[str]:
    return [
        transfer["target"],
        transfer["state"],
        f"{transfer['files_done']:,} of {transfer['files_total']:,}",
        f"{human.size(transfer['bytes_done'])} of {human.size(transfer['bytes_total'])}",
        human.speed(transfer),
        human.time_left(transfer),
        transfer.get("destination", ""),
    ]
