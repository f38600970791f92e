"""`labferry whois`: the lab of a subject, and the data repository its sessions would be registered in.

Room: cli. The daemon asks Alyx; nothing is changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from labferry.cli.options import asks_daemon
from labferry.cli.output import answer, bad, good, strong, table
from labferry.control.client import ControlClient
from labferry.errors import ExitCode


@click.command("whois")
@click.argument("subject")
@asks_daemon
def whois(client: ControlClient, as_json: bool, subject: str) -> None:
    """Ask Alyx for the lab of SUBJECT, and say which data repository follows from it below every root.

    Ends with 0 when sessions of the subject can be registered below every root; with 1 when they cannot; with 75 when
    Alyx cannot be asked now.
    """
    found = client.get("/v1/whois", subject=subject)
    answer(found, as_json, _lines)
    problems = [one["problem"] for one in [found, *found["roots"]] if one["problem"]]
    click.get_current_context().exit(ExitCode.FAILURE if problems else ExitCode.OK)


def _lines(found: dict[str, Any]) -> Iterator[str]:
    yield strong(found["subject"])
    if found["problem"]:
        yield from _problem(found["problem"])
        return
    responsible = f", responsible: {found['responsible_user']}" if found["responsible_user"] else ""
    yield f"lab {found['lab']}{responsible}"
    if found["projects"]:
        yield f"projects: {', '.join(found['projects'])}"
    if found["roots"]:
        yield ""
        yield from table(["root", "lab", "repository"], [_row(one) for one in found["roots"]])
    for one in found["roots"]:
        if one["problem"]:
            yield ""
            yield from _problem(one["problem"])


def _row(one: dict[str, Any]) -> list[str]:
    lab = f"{one['lab']} (configured)" if one["configured"] else one["lab"]
    return [one["root"], lab, good(one["repository"]) if one["repository"] else bad(one["problem"]["code"])]


def _problem(problem: dict[str, str]) -> Iterator[str]:
    yield f"{bad(problem['code'])}: {problem['message']}"
    yield f"{strong('To do:')} {problem['hint']}"
