"""Command `labferry rig`: write realistic session folders, as an acquisition computer does.

Thin: it reads its options, lets the sandbox's rig work, and prints what it finished. It talks to no daemon.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import click

from labferry.cli.options import unused_config_option
from labferry.cli.output import envelope
from labferry.errors import ExitCode
from labferry.model import path_fields, show_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from labferry.sandbox.rig import RigEvent

_KINDS = ("training", "biased", "ephys", "passive")
_UNITS = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}


def _rate(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Read bytes per second: a number, with k, M or G for thousands, millions, billions."""
    if value is None:
        return None
    parts = re.fullmatch(r"(\d+(?:\.\d+)?)([kMG]?)", value, re.ASCII)
    rate = float(parts[1]) * _UNITS[parts[2]] if parts else 0.0
    if rate <= 0:
        raise click.BadParameter(f"{value!r} is not a rate; examples: 500k, 2M, 1000000", ctx, param)
    return rate


@click.command("rig")
@click.option("--root", required=True, metavar="DIR", help="Directory that holds the subjects' folders.")
@click.option("--sessions", default=5, show_default=True, type=click.IntRange(min=1), help="How many.")
@click.option(
    "--kind", "kinds", multiple=True, type=click.Choice(_KINDS), help="What is recorded; several are taken by turns."
)
@click.option(
    "--rate",
    callback=_rate,
    metavar="BYTES/S",
    help="Write this slowly, e.g. 500k or 2M. Default: as fast as the disk.",
)
@click.option(
    "--subject",
    "subjects",
    multiple=True,
    metavar="NAME[:LAB]",
    help="Whose sessions; several are taken by turns. Default: the subjects that the sandbox knows.",
)
@click.option(
    "--scale",
    default=1.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="1 makes sessions of 1 to 3 MB.",
)
@click.option("--seed", default=0, show_default=True, help="Another seed, other data under the same names.")
@unused_config_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object per finished session.")
@click.pass_context
def rig(
    ctx: click.Context,
    *,
    root: str,
    sessions: int,
    kinds: tuple[str, ...],
    rate: float | None,
    subjects: tuple[str, ...],
    scale: float,
    seed: int,
    as_json: bool,
) -> None:
    """Write realistic session folders, as an acquisition computer does.

    File by file in no particular order, two sessions at once, `raw_session.flag` last. One line is printed
    for every finished session.
    """
    from labferry.sandbox.rig import DEFAULT_KINDS, DEFAULT_SUBJECTS, EventKind, Rig

    def report(event: RigEvent) -> None:
        if event.kind is EventKind.FLAG_WRITTEN:
            _print_session(event, as_json)

    labs = dict(_subject_and_lab(text, DEFAULT_SUBJECTS) for text in subjects) or DEFAULT_SUBJECTS
    try:
        Rig(
            root,
            labs,
            sessions=sessions,
            kinds=kinds or DEFAULT_KINDS,
            seed=seed,
            scale=scale,
            rate=rate,
            on_event=report,
        ).run()
    except ValueError as error:
        raise click.UsageError(str(error), ctx) from error
    except KeyboardInterrupt:
        click.echo("Interrupted: sessions without a flag are unfinished.", err=True)
        ctx.exit(ExitCode.INTERRUPTED)


def _subject_and_lab(text: str, known: Mapping[str, str]) -> tuple[str, str]:
    """Split `NAME:LAB`; a bare name has the lab that the sandbox knows it in, else the first lab."""
    name, _, lab = text.partition(":")
    return name, lab or known.get(name) or next(iter(known.values()))


def _print_session(event: RigEvent, as_json: bool) -> None:
    session = event.session
    if not as_json:
        click.echo(
            f"{session.relative}  {session.kind}  {len(session.files)} files  {session.size / 1e6:.1f} MB  "
            f"{show_path(os.fsencode(event.folder))}"
        )
        return
    data = {
        **path_fields(os.fsencode(event.folder)),
        "subject": session.subject,
        "lab": session.lab,
        "date": session.date.isoformat(),
        "number": session.number,
        "kind": session.kind,
        "files": len(session.files),
        "registrable": sum(file.registrable for file in session.files),
        "bytes": session.size,
    }
    click.echo(envelope(data))
