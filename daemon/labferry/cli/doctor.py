"""`labferry doctor`: every precondition, and the remedy for what is missing.

Room: cli. The daemon looks with its own rights; where none runs, this command looks at what it can see itself.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from labferry.cli import job_creator
from labferry.cli.options import config_option, json_option, socket_option
from labferry.cli.output import answer, bad, dim, good, warn
from labferry.cli.socket_path import socket_path
from labferry.control.client import ControlClient
from labferry.errors import ConfigError, ExitCode, LabferryError

if TYPE_CHECKING:
    from labferry.config import Config

PATIENCE = 600.0  # seconds: every neighbour is asked, and each may be slow
RESULTS = ("ok", "warning", "error", "skipped")
_COLOURS = {"ok": good, "warning": warn, "error": bad, "skipped": dim}
_NOT_ASKED = ("alyx", "archives", "globus")  # what only a daemon can look at


@click.command("doctor")
@config_option
@socket_option
@json_option
def doctor(config: str | None, socket: str | None, as_json: bool) -> None:
    """Check every precondition and name the remedy: configuration, secrets, state, roots, Alyx, archives, Globus.

    Works without a running daemon, as far as that goes. Ends with 0, or 7 when an error is found; warnings and what
    was skipped do not count.
    """
    checks = list(_checks(config, socket))
    counts = Counter(check["result"] for check in checks)
    data = {"checks": checks, "counts": {result: counts[result] for result in RESULTS}}
    answer(data, as_json, _lines)
    click.get_current_context().exit(ExitCode.DOCTOR if counts["error"] else ExitCode.OK)


def _checks(path: str | None, socket: str | None) -> Iterator[dict[str, str]]:
    loaded, of_config = _configuration(path)
    yield from of_config
    of_daemon, answered = _daemon(path, socket)
    yield of_daemon
    if loaded is not None:
        yield _other_creator(loaded)
    if answered is not None:
        yield from answered
        return
    if loaded is not None:
        from labferry.config.checks import places

        yield from (check.fields() for check in places(loaded, os.environ))
    yield from (_check(name, "skipped", "only a running daemon can look at it") for name in _NOT_ASKED)


def _check(name: str, result: str, text: str, hint: str = "") -> dict[str, str]:
    return {"name": name, "result": result, "text": text, "hint": hint}


# --- what this command sees itself ------------------------------------------------------------------------


def _configuration(path: str | None) -> tuple[Config | None, list[dict[str, str]]]:
    """Load the configuration; what is wrong with it is one check, what deserves a look one each."""
    from labferry.config import load

    try:
        loaded = load(path, os.environ, check_secrets=False)
    except ConfigError as error:
        return None, [_check("config", "error", error.message, error.hint)]
    warnings = [_check("config", "warning", sentence) for sentence in loaded.warnings]
    return loaded, warnings or [_check("config", "ok", f"{loaded.path} can be used")]


def _daemon(path: str | None, socket: str | None) -> tuple[dict[str, str], list[dict[str, str]] | None]:
    """Ask the daemon for its own checks; None where it does not answer."""
    try:
        where = socket_path(socket, path, os.environ)
        client = ControlClient(where, PATIENCE)
        status = client.get("/v1/status")
        checks: list[dict[str, str]] = client.get("/v1/doctor")["checks"]
    except LabferryError as error:
        result = "warning" if error.exit_code is ExitCode.NOT_RUNNING else "error"
        return _check("daemon", result, f"{error.code}: {error.message}", error.hint), None
    text = f"labferry {status['version']} answers on {where} as process {status['pid']}"
    return _check("daemon", "ok", text), checks


def _other_creator(loaded: Config) -> dict[str, str]:
    """Look for ibllib's job creator; two programs that create the same session make it twice (ruling 9)."""
    name = "job_creator"
    found, closed = job_creator.find()
    unseen = f" (not looked at: {', '.join(closed)})" if closed else ""
    if not found:
        return _check(name, "ok", f"no sign of ibllib's job creator on this machine{unseen}")
    text = f"ibllib's job creator is here: {', '.join(found)}{unseen}"
    if not loaded.registration.create_sessions:
        return _check(name, "ok", f"{text}; we wait for its sessions")
    return _check(
        name,
        "warning",
        f"{text}, and create_sessions = true: both may create the same session at the same moment",
        "Set `[registration] create_sessions = false` to wait for its sessions, or stop it. With true we look again "
        "after every creation and report a duplicate.",
    )


# --- for people -------------------------------------------------------------------------------------------


def _lines(data: dict[str, Any]) -> Iterator[str]:
    checks = data["checks"]
    width = max(len(check["name"]) for check in checks)
    for check in checks:
        mark = _COLOURS[check["result"]](f"{check['result']:7}")
        first, *more = check["text"].splitlines() or [""]
        yield f"{mark}  {check['name']:{width}}  {first}"
        yield from (f"{'':7}  {'':{width}}  {line}" for line in more)
        if check["hint"]:
            yield f"{'':7}  {'':{width}}  {warn('→')} {check['hint']}"
    counts = data["counts"]
    yield ""
    summary = ", ".join(f"{counts[result]} {result}" for result in RESULTS)
    yield (bad if counts["error"] else warn if counts["warning"] else good)(summary)
