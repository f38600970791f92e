"""`labferry verify`: whether a session is in Alyx and in every archive as it was sealed.

Room: cli. The daemon looks; nothing is corrected.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from labferry.cli import human
from labferry.cli.options import asks_daemon, typed_session
from labferry.cli.output import answer, bad, dim, good, indented, strong, table, warn
from labferry.control.client import ControlClient
from labferry.errors import ExitCode

# Seconds: somewhat more than the daemon gives itself.
PATIENCE = 930.0
PATIENCE_DEEP = 12 * 3600.0 + 30.0
SHOWN = 20  # files listed of each kind; --json has more
_COLOURS = {"ok": good, "differs": bad}


@click.command("verify")
@click.argument("session")
@click.option("--deep", is_flag=True, help="Read every copy and compare its MD5, where the archive can be read.")
@asks_daemon
def verify(client: ControlClient, as_json: bool, session: str, deep: bool) -> None:
    """Hold what is known of SESSION against Alyx and against every archive; correct nothing.

    SESSION is a path, subject/date/number or an eid. Ends with 0 when everything is in Alyx, online and archived as it
    was sealed; with 1 when it is not, or not yet; with 75 when Alyx or an archive cannot be looked at now.
    """
    patient = client.patient(PATIENCE_DEEP if deep else PATIENCE)
    found = patient.get("/v1/verify", session=typed_session(session), deep=deep)
    answer(found, as_json, _lines)
    click.get_current_context().exit(ExitCode.OK if found["verdict"] == "ok" else ExitCode.FAILURE)


def _lines(found: dict[str, Any]) -> Iterator[str]:
    colour = _COLOURS.get(found["verdict"], warn)
    yield strong(found["path"])
    yield f"{colour(found['verdict'])}: {found['message']}"
    if found["alyx"] is not None:
        yield ""
        yield strong("Alyx")
        yield from indented(_registry_lines(found["alyx"]))
    for archive in found["archives"]:
        yield ""
        yield strong(f"Archive {archive['target']} ({archive['kind']})")
        yield from indented(_archive_lines(archive))
    if found["hint"]:
        yield ""
        yield f"{strong('To do:')} {found['hint']}"


def _registry_lines(alyx: dict[str, Any]) -> Iterator[str]:
    yield f"{alyx['registered']:,} of {human.plural(alyx['datasets'], 'dataset')} as sealed, {alyx['online']:,} online"
    rows = [[dim(name), f"{count:,} exist"] for name, count in sorted(alyx["repositories"].items())]
    yield from table(["", ""], rows) if rows else ()
    yield from _differences(alyx)
    yield from _others(alyx, "dataset", "that this session's folder does not have")


def _archive_lines(archive: dict[str, Any]) -> Iterator[str]:
    pending = f", {archive['pending']:,} still to come" if archive["pending"] else ""
    yield f"{archive['verified']:,} of {human.plural(archive['files'], 'file')} as sealed{pending}"
    if archive["how"]:
        yield dim(f"compared: {archive['how']}")
    if archive["problem"]:
        yield f"{warn('not looked at:')} {archive['problem']['code']}: {archive['problem']['message']}"
    yield from _differences(archive)
    yield from _others(archive, "other name", "in the folders of its copies")


def _differences(part: dict[str, Any]) -> Iterator[str]:
    shown = part["differences"][:SHOWN]
    yield from table(["", ""], [[bad(one["fault"]), one["detail"]] for one in shown]) if shown else ()
    yield from _more(part["differing"] - len(shown))


def _others(part: dict[str, Any], noun: str, where: str) -> Iterator[str]:
    if not part["extras"]:
        return
    yield f"{human.plural(part['extras'], noun)} {where}:"
    yield from indented(part["extra"][:SHOWN])
    yield from _more(part["extras"] - min(SHOWN, len(part["extra"])))


def _more(count: int) -> Iterator[str]:
    if count > 0:
        yield dim(f"and {count:,} more; --json lists them")
