"""`labferry pause`, `resume`, `rescan`: what an operator asks of the daemon as a whole.

Room: cli. All three are idempotent: asking twice is as good as once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from labferry.cli.options import asks_daemon
from labferry.cli.output import answer
from labferry.control.client import ControlClient

_lane_option = click.option(
    "--lane", type=click.Choice(["register", "archive"]), help="Only this kind of work; else all of it."
)


@click.command("pause")
@_lane_option
@asks_daemon
def pause(client: ControlClient, as_json: bool, lane: str | None) -> None:
    """Take no new work; what is at hand is finished. Detection goes on."""
    answer(client.post("/v1/pause", {"lane": lane}), as_json, _paused_lines)


@click.command("resume")
@_lane_option
@asks_daemon
def resume(client: ControlClient, as_json: bool, lane: str | None) -> None:
    """Take work again."""
    answer(client.post("/v1/resume", {"lane": lane}), as_json, _paused_lines)


@click.command("rescan")
@click.argument("root", required=False)
@click.option(
    "--accept-missing", is_flag=True, help="The sessions of ROOT that are not found then are gone, however many."
)
@asks_daemon
def rescan(client: ControlClient, as_json: bool, root: str | None, accept_missing: bool) -> None:
    """Look for sessions now, below ROOT (its name) or below all roots."""
    accepting = {"accept_missing": True} if accept_missing else {}
    answer(client.post("/v1/rescan", {"root": root, **accepting}), as_json, _rescan_lines)


def _paused_lines(data: dict[str, Any]) -> Iterator[str]:
    paused = data.get("paused", [])
    yield f"Paused: {', '.join(paused)}. `labferry resume` takes up work again." if paused else "Nothing is paused."


def _rescan_lines(data: dict[str, Any]) -> Iterator[str]:
    roots = data.get("roots", [])
    yield f"Looking for sessions below {', '.join(roots)} now; `labferry status` shows when it is done."
