"""`labferry explain`: why this folder is where it is.

Room: cli.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import click

from labferry.cli import human
from labferry.cli.options import asks_daemon, typed_session
from labferry.cli.output import answer, bad, dim, good, indented, strong, terminal_width, warn, wrapped
from labferry.control.client import ControlClient
from labferry.errors import ExitCode

UNKNOWN = "outside_roots"
ROOM_FOR_FACTS = 45  # columns; in a narrower terminal only the age is told
_NOTHING = re.compile(r"^Nothing to do\b(?: here)?")
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
    answer(found, as_json, lambda data: _lines(data, time.time(), terminal_width()))
    click.get_current_context().exit(_exit_code(found))


def _exit_code(found: dict[str, Any]) -> ExitCode:
    if found["verdict"] == UNKNOWN:
        return ExitCode.FAILURE
    return ExitCode.ATTENTION if found.get("attention") else ExitCode.OK


def _lines(found: dict[str, Any], now: float, width: int) -> Iterator[str]:
    verdict = found["verdict"]
    colour = good if verdict in _FINE else bad if _exit_code(found) else warn
    code = f" ({found['code']})" if found.get("code") and found["code"] != verdict else ""
    yield strong(found["path"])
    yield from wrapped(f"{colour(verdict)}{code}: {_ended(found['message'])}", width)
    if found.get("evidence"):
        yield ""
        yield strong("Evidence")
        yield from indented(_evidence(found["evidence"], now, width and width - 2))
    following = found.get("next")
    if following:
        when = f" ({human.ago(following['at'], now)})" if following.get("at") else ""
        yield ""
        yield from wrapped(f"{strong('Next:')} {following['what']}{when}", width)
    if found.get("hint"):
        yield ""
        yield from wrapped(f"{strong('To do:')} {_NOTHING.sub('nothing', found['hint'])}", width)


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith((".", "?", "!", "`")) else f"{sentence}."


def _evidence(facts: list[dict[str, Any]], now: float, width: int) -> Iterator[str]:
    """Yield the facts with their moments before them; a fact that does not fit goes on below itself."""
    moments = [_moment(fact.get("at"), now) for fact in facts]
    if width and width - max(map(len, moments)) < ROOM_FOR_FACTS:
        moments = [human.ago(fact["at"], now) if fact.get("at") else "" for fact in facts]
    margin = max(map(len, moments))
    gap = 2 if margin else 0
    for moment, fact in zip(moments, facts, strict=True):
        first, *rest = wrapped(fact["what"], width and max(1, width - margin - gap))
        yield f"{dim(moment)}{' ' * (margin - len(moment) + gap)}{first}"
        yield from (f"{' ' * (margin + gap)}{line}" for line in rest)


def _moment(at: str | None, now: float) -> str:
    return f"{human.local_time(at)}  {human.ago(at, now)}" if at else ""
