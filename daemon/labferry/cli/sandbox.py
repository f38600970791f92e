"""`labferry sandbox`: an Alyx, a Globus and a data server on loopback to try everything on.

Thin: the sandbox itself is in `labferry.sandbox.run`, imported when the command runs.
"""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path
from typing import Literal

import click

from labferry.cli.options import unused_config_option


def _subjects(_: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> list[tuple[str, str]]:
    pairs = []
    for value in values:
        nickname, separator, lab = value.rpartition(":")
        if not (nickname and separator and lab):
            raise click.BadParameter(f"{value!r} is not NAME:LAB, for example KS005:cortexlab", param=parameter)
        pairs.append((nickname, lab))
    return pairs


@click.command("sandbox")
@unused_config_option
@click.option(
    "--dir",
    "directory",
    required=True,
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the sandbox lives; started again on the same directory it goes on where it was.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default="a free one",
    metavar="N",
    help="Port of the Alyx on 127.0.0.1.",
)
@click.option(
    "--subject",
    "subjects",
    multiple=True,
    metavar="NAME:LAB",
    callback=_subjects,
    help="One more subject; may be given several times.",
)
@click.option(
    "--throttle",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Requests that Alyx allows a user per minute; 0: no limit.",
)
@click.option(
    "--archive",
    type=click.Choice(["globus", "directory"]),
    default="globus",
    show_default=True,
    help="How the configuration reaches the archive.",
)
@click.option("--json", is_flag=True, expose_value=False, help="Print errors as JSON too; the answer always is.")
def sandbox(
    directory: Path,
    port: int,
    subjects: list[tuple[str, str]],
    throttle: int,
    archive: Literal["globus", "directory"],
) -> None:
    """Run an Alyx, a Globus and a data server to try labferry on, until SIGINT or SIGTERM.

    Prints one line of JSON when up: addresses, password file, and a configuration ready for `labferry run`.
    """
    from labferry.sandbox.alyx.application import Limits
    from labferry.sandbox.run import Sandbox

    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with Sandbox(directory, port, subjects, limits=Limits(throttle), archive=archive) as running:
        click.echo(json.dumps(running.description()))
        ended.wait()
