"""`labferry archive`: a session into its archives now, and what may give way to it there.

Room: cli. The daemon does it, by the same rules as always.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from labferry.cli.options import asks_daemon, typed_session
from labferry.cli.output import answer
from labferry.control.client import ControlClient


@click.command("archive")
@click.argument("session")
@click.option(
    "--replace",
    is_flag=True,
    help="Content that changed after it was archived, or another file of the same name, gives way; it is kept beside.",
)
@click.option(
    "--trust-size",
    is_flag=True,
    help="In a Globus collection: take a file of the same name and size for the session's own.",
)
@asks_daemon
def archive(client: ControlClient, as_json: bool, session: str, replace: bool, trust_size: bool) -> None:
    """Archive SESSION: take up what waits or is blocked, or look at its files and at the archives anew.

    SESSION is a path, subject/date/number or an eid. Nothing in an archive is deleted or overwritten: what gives way
    to other content keeps its own beside it, under a name that ends in `.old-` and the batch.
    """
    order = {"session": typed_session(session), "replace": replace, "trust_size": trust_size}
    answer(client.post("/v1/jobs/archive", order), as_json, _lines)


def _lines(data: dict[str, Any]) -> Iterator[str]:
    how = "is looked at again and archived" if data["began"] else "goes on"
    yield f"{data['path']} {how}; `labferry show {data['path']}` says how far it is."
