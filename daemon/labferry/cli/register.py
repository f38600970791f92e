"""`labferry register`: a session into Alyx now, some of its files first, or once more; or only what would be sent.

Room: cli. The daemon does it, by the same rules as always.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click

from labferry.cli import human
from labferry.cli.options import asks_daemon, typed_session
from labferry.cli.output import answer, bad, dim, strong
from labferry.control.client import ControlClient


@click.command("register")
@click.argument("session")
@click.option("--raw", is_flag=True, help="The raw data first.")
@click.option(
    "--file",
    "files",
    metavar="REL",
    multiple=True,
    help="This file first, relative to the session's folder, also where no pattern asks for it. May be given again.",
)
@click.option("--overwrite", is_flag=True, help="Send these files even if Alyx has them as they are.")
@click.option("--dry-run", is_flag=True, help="Only print what would be sent.")
@asks_daemon
def register(
    client: ControlClient,
    as_json: bool,
    session: str,
    raw: bool,
    files: tuple[str, ...],
    overwrite: bool,
    dry_run: bool,
) -> None:
    """Look at SESSION and at Alyx anew, and register what Alyx lacks.

    SESSION is a path, subject/date/number or an eid.
    """
    if raw and files:
        raise click.UsageError("Give --raw, or name files with --file.", click.get_current_context())
    order = {"session": typed_session(session), "raw": raw, "files": list(files)}
    found = client.post("/v1/jobs/register", {**order, "overwrite": overwrite, "dry_run": dry_run})
    answer(found, as_json, _preview_lines if dry_run else _register_lines)


def _register_lines(data: dict[str, Any]) -> Iterator[str]:
    if data["began"]:
        yield f"{data['path']} is registered now; `labferry show {data['path']}` says how far it is."
    else:
        yield f"{data['path']} is being registered already; `labferry show {data['path']}` says how far it is."


def _preview_lines(data: dict[str, Any]) -> Iterator[str]:
    yield strong(data["path"])
    if data["eid"] is None:
        yield dim("Alyx has no session for it yet: that is created first.")
    for request in data["requests"]:
        yield ""
        yield f"{request['method']} {request['path']}"
        yield from json.dumps(request["body"], indent=2, ensure_ascii=False).splitlines()
    for file in data["left_out"]:
        yield f"{bad('left out:')} {file['path']}: {file['code']}: {file['reason']}"
    yield ""
    sent, unchanged = data["files"], data["unchanged"]
    text = f"{human.plural(sent, 'file')} would be sent, {unchanged:,} in Alyx as they are"
    yield f"{text}." if data["complete"] else f"{text}; not all are shown."
