"""`labferry run`: the daemon in the foreground. The only command that is the daemon instead of asking it.

Room: cli. `labferry.service` is imported when the command runs.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import cast

import click

from labferry.cli.options import config_option, json_option


@click.command("run")
@config_option
@json_option
@click.pass_context
def run(ctx: click.Context, config: str | None, as_json: bool) -> None:
    """Be the daemon, in the foreground, until SIGTERM or Ctrl-C.

    With --json, what keeps it from starting is one JSON object. The log has its own setting: [log] format.
    """
    del as_json  # errors are printed by `labferry.cli.main`, which looks for the option itself
    never_draw()
    from labferry.service.process import run as serve

    ctx.exit(serve(config))


def never_draw() -> None:
    """Keep a library for terminals out of this process.

    httpx and structlog import it where it is there, for command lines of their own; a daemon has no use for its 3 MiB.
    """
    cast("dict[str, ModuleType | None]", sys.modules)["rich"] = None
