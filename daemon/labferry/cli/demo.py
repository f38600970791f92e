"""`labferry demo`: the whole way, from a recording rig to a verified archive, shown as it happens.

Thin: options, how it is shown, and the result. Everything else is in `labferry.cli.demonstration`, imported when the
command runs.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from labferry.cli.options import json_option, unused_config_option
from labferry.cli.output import envelope, fail, say
from labferry.errors import ExitCode, LabferryError

if TYPE_CHECKING:
    from labferry.cli.demonstration.plain import View


class DemoInterruptedError(LabferryError):
    """The operator ended the demo; everything was cleared up before this is raised."""

    exit_code = ExitCode.INTERRUPTED

    def __init__(self, keep: Path | None) -> None:
        left = f"what there is so far stays in {keep}" if keep else "nothing of it is left"
        super().__init__("interrupted", f"Interrupted: everything was stopped, {left}.")


@click.command("demo")
@unused_config_option
@click.option("--sessions", default=5, show_default=True, metavar="N", type=click.IntRange(1, 200), help="How many.")
@click.option("--layout", default="ibl", show_default=True, type=click.Choice(["ibl"]), help="How folders are named.")
@click.option(
    "--speed",
    default=1.0,
    show_default=True,
    metavar="X",
    type=click.FloatRange(min=0.01),
    help="How fast the rig writes; 1 takes about half a minute for five sessions.",
)
@click.option(
    "--keep",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep everything in DIR: a new or empty directory, or that of an earlier demo.",
)
@click.option("--one", "with_one", is_flag=True, help="Load the data with the ONE-api client (extra `one`).")
@json_option
@click.pass_context
def demo(
    ctx: click.Context,
    *,
    sessions: int,
    layout: str,
    speed: float,
    keep: Path | None,
    with_one: bool,
    as_json: bool,
) -> None:
    """Show the whole way, from a recording rig to a verified archive, on this machine alone.

    A made-up rig of two labs writes sessions, the real daemon registers them in a made-up Alyx and has a made-up Globus
    copy them to an archive, and every dataset is fetched as a user would and compared with its source. Needs no
    configuration and no network.
    """
    del layout  # there is one so far
    from labferry.cli.demonstration.course import Wishes, perform
    from labferry.cli.demonstration.summary import lines

    try:
        with _interruptible():
            result = perform(Wishes(sessions, speed, keep, with_one), _view_maker(as_json))
    except KeyboardInterrupt:
        raise DemoInterruptedError(keep) from None
    error = result.error()
    if as_json:
        click.echo(envelope(result.data(), error))
    else:
        say(lines(result))
        if error is not None:
            fail(error, as_json=False)
    ctx.exit(ExitCode.OK if error is None else error.exit_code)


def _view_maker(as_json: bool) -> Callable[[Callable[[], float]], View]:
    """Return how it is shown: a table on a terminal, lines elsewhere; with --json at most a table on stderr."""
    from labferry.cli.demonstration.plain import Plain, Silent

    stream = sys.stderr if as_json else sys.stdout
    if stream.isatty():
        from rich.console import Console

        from labferry.cli.demonstration.screen import Screen

        console = Console(file=stream, highlight=False)
        if console.is_terminal and not console.is_dumb_terminal:
            return lambda elapsed: Screen(console, elapsed)
    return (lambda _: Silent()) if as_json else Plain


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Make every wish to end the demo the same one: clear up, exit code 130."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
