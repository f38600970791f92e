"""`labferry explain`: why this folder is where it is.

Room: cli.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import click

from labferry.cli import human
from labferry.cli.options import asks_daemon, typed_session
from labferry.cli.output import answer, bad, dim, good, indented, strong, table, warn
from labferry.control.client import ControlClient
from labferry.errors import ExitCode

UNKNOWN = "outside_roots"
_FINE = frozenset({"ok_archived", "ok_registered", "adopted"})


@click.command("explain")
@click.argument("path")
@asks_daemon
def explain(client: ControlClient, as_json: bool, path: str) -> None:
    """Say why PATH is where it is, what it waits for, and what to do.

    Works for any path below a root, and for subject/date/number or an eid. Ends with 0 when it is fine, settling
    or waiting, 3 when a person must act, 1 when no root holds it.
    """
    found = client.get("/v1/explain", path=typed_session(path))
    answer(found, as_json, lambda data: _lines(data, time.time()))
    click.get_current_context().exit(_exit_code(found))


def _exit_code(found: dict[str, Any]) -> ExitCode:
    if found["verdict"] == UNKNOWN:
        return ExitCode.FAILURE
    return ExitCode.ATTENTION if found.get("attention") else ExitCode.OK


def _lines(found: dict[str, Any], now: float) -> Iterator[str]:
    verdict = found["verdict"]
    colour = good if verdict in _FINE else bad if _exit_code(found) else warn
    code = f" ({found['code']})" if found.get("code") and found["code"] != verdict else ""
    yield strong(found["path"])
    yield f"{colour(verdict)}{code}: {found['message']}"
    if found.get("evidence"):
        yield ""
        yield strong("Evidence")
        yield from indented(
            table(["", ""], [[dim(_moment(fact.get("at"), now)), fact["what"]] for fact in found["evidence"]])
        )
    following = found.get("next")
    if following:
        when = f" ({human.ago(following['at'], now)})" if following.get("at") else ""
        yield ""
        yield f"{strong('Next:')} {following['what']}{when}"
    if found.get("hint"):
        yield ""
        yield f"{strong('To do:')} {found['hint']}"


def _moment(at: str | None, now: float) -> str:
    return f"{human.local_time(at)}  {human.ago(at, now)}" if at else ""
