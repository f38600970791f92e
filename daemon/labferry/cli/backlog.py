"""`labferry backlog`: the sessions that were there before labferry, and what becomes of those that Alyx does not know.

Room: cli.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from labferry.cli import human
from labferry.cli.options import asks_daemon, typed_session
from labferry.cli.output import answer, dim, indented, strong, table
from labferry.control.client import ControlClient

SHOWN = 20  # sessions that are listed
STANDINGS = {
    "adopted": "Alyx has all of it: left as it is",
    "backlog": "Alyx does not have it, or has it otherwise",
    "unasked": "Alyx is asked in its turn",
    "ignored": "left alone",
}


@click.command("backlog")
@click.argument("order", type=click.Choice(["release", "ignore"]), required=False)
@click.argument("session", required=False)
@click.option("--root", metavar="NAME", help="Only those below this root.")
@click.option("--subject", metavar="NAME", help="Only this subject's.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help="At most so many, the newest recordings first: 20 are listed, 100 released; all are ignored.",
)
@asks_daemon
def backlog(
    client: ControlClient,
    as_json: bool,
    order: str | None,
    session: str | None,
    root: str | None,
    subject: str | None,
    limit: int | None,
) -> None:
    """Show the sessions that were there before labferry; release or ignore those that Alyx does not have as they are.

    `release` makes ordinary sessions of them: they are registered and archived. `ignore` leaves them alone. Both take a
    portion of the backlog, or only SESSION (a path, subject/date/number or an eid), whatever became of it.
    """
    if order is None:
        found = client.get("/v1/backlog", root=root, subject=subject, limit=limit or SHOWN)
        answer(found, as_json, _lines)
        return
    if session and (root or subject or limit):
        raise click.UsageError("Name a SESSION, or choose by options.", click.get_current_context())
    what: dict[str, object] = {"session": typed_session(session)} if session else {"root": root, "subject": subject}
    if limit:
        what["limit"] = limit
    answer(client.post(f"/v1/backlog/{order}", what), as_json, _released if order == "release" else _ignored)


def _lines(found: dict[str, Any]) -> Iterator[str]:
    counts = [
        [f"{found['counts'][name]:,}", name, dim(text)] for name, text in STANDINGS.items() if found["counts"][name]
    ]
    if not counts:
        yield "No session was there before labferry."
        return
    yield from table(["", "", ""], counts, right=(0,))
    if found["reasons"]:
        yield ""
        yield strong("Why")
        yield from indented(
            table(["", "", ""], [[f"{one['sessions']:,}", one["code"], one["title"]] for one in found["reasons"]], (0,))
        )
    if not found["sessions"]:
        return
    yield ""
    yield strong("Next to be released")
    rows = [[one["path"], one["code"], one["message"]] for one in found["sessions"]]
    yield from indented(table(["session", "code", "why"], rows))
    left = found["counts"]["backlog"] - len(found["sessions"])
    if left > 0:
        yield dim(f"  and {left:,} more; --limit N lists more")
    yield ""
    yield dim(
        "labferry backlog release --limit N  registers and archives them; labferry backlog ignore  leaves them alone"
    )


def _released(data: dict[str, Any]) -> Iterator[str]:
    yield f"{human.plural(data['sessions'], 'session')} released, {data['left']:,} left in the backlog."


def _ignored(data: dict[str, Any]) -> Iterator[str]:
    yield f"{human.plural(data['sessions'], 'session')} ignored, {data['left']:,} left in the backlog."
