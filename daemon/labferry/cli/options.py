"""What commands that ask the daemon have in common: `--config`, `--socket`, `--json`, and the client.

Room: cli. Finds the socket and makes the client; the question is the command's.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

import click

from labferry.cli.socket_path import socket_path
from labferry.control.client import ControlClient

config_option = click.option(
    "--config",
    metavar="FILE",
    help="The configuration file; else LABFERRY_CONFIG, else /etc/labferry/config.toml.",
)
# Every command takes --config, so that a script may give it to all of them.
unused_config_option = click.option("--config", hidden=True, expose_value=False)
socket_option = click.option("--socket", metavar="PATH", help="The control socket; else `[control] socket`.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


class _Duration(click.ParamType[float]):
    """Durations as the configuration writes them, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read `90s`, `10m`, `2h`, `1d` or a number of seconds."""
        from labferry.config.values import parse_duration  # pydantic, which few commands need

        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(f"{value!r} {error}.", param, ctx)


DURATION = _Duration()


def asks_daemon(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the three options; it receives `client` and `as_json`."""

    @config_option
    @socket_option
    @json_option
    @functools.wraps(command)
    def asking(config: str | None, socket: str | None, **values: Any) -> None:
        client = ControlClient(socket_path(socket, config, os.environ))
        command(client=client, **values)

    return asking


def typed_session(text: str) -> str:
    """Return what was typed for a session as the daemon can resolve it.

    A relative path of something that is there becomes absolute, and so does one that begins with `./` or `../`;
    everything else (`subject/date/number`, a path relative to a root, an eid) is the daemon's to read.

    Raises
    ------
    click.UsageError
        Nothing was typed: a variable of the shell may be empty.
    """
    if not text:
        raise click.UsageError("An empty text names no path and no session.", click.get_current_context(silent=True))
    from_here = text in {".", ".."} or text.startswith(("./", "../"))
    return os.path.abspath(text) if from_here or os.path.lexists(text) else text
