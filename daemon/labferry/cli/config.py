"""`labferry config check|show|example`: is the configuration usable, what counts, how does one begin.

Works without a daemon. `labferry.config` is imported inside the commands: it costs a fifth of a second.
"""

from __future__ import annotations

import json
import os
from importlib import resources
from typing import NoReturn

import click

import labferry
from labferry.errors import ConfigError

EXAMPLE = "config.example.toml"

_config_option = click.option(
    "--config",
    "path",
    metavar="FILE",
    help="The configuration file; else LABFERRY_CONFIG, else /etc/labferry/config.toml.",
)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.group("config")
def config() -> None:
    """Check, show or begin a configuration."""


@config.command()
@_config_option
@_json_option
def check(path: str | None, as_json: bool) -> None:
    """Check the configuration and every file it names; list all errors at once."""
    from labferry.config import config_path, load
    from labferry.config.checks import Result, tokens

    try:
        loaded = load(path, os.environ)
    except ConfigError as error:
        errors = error.message.split("\n")
        _fail(error, as_json, {"path": config_path(path, os.environ), "errors": errors})
    logins = [f"{one.text}; {one.hint}" for one in tokens(loaded) if one.result is Result.WARNING]
    data = {
        "path": loaded.path,
        "server_name": loaded.server_name,
        "roots": [root.name for root in loaded.roots],
        "archives": list(loaded.archive),
        "warnings": [*loaded.warnings, *logins],
    }
    if as_json:
        _print_json(data)
        return
    for warning in (*loaded.warnings, *logins):
        click.echo(f"warning: {warning}", err=True)
    roots = ", ".join(root.name for root in loaded.roots) or "none"
    archives = ", ".join(loaded.archive) or "none"
    click.echo(f"ok: {loaded.path}: server {loaded.server_name}, roots: {roots}, archives: {archives}")


@config.command()
@_config_option
@_json_option
def show(path: str | None, as_json: bool) -> None:
    """Show the configuration that counts: file, environment and defaults together. Secrets are not in it."""
    from labferry.config import effective, load
    from labferry.config import show as as_toml

    try:
        loaded = load(path, os.environ, check_secrets=False)
    except ConfigError as error:
        _fail(error, as_json)
    if as_json:
        _print_json({"path": loaded.path, "config": effective(loaded)})
    else:
        click.echo(as_toml(loaded), nl=False)


@config.command()
@click.option("--config", metavar="FILE", expose_value=False, hidden=True)
@_json_option
def example(as_json: bool) -> None:
    """Print a commented configuration to begin with."""
    text = _example()
    if as_json:
        _print_json({"example": text})
    else:
        click.echo(text, nl=False)


def _example() -> str:
    """Return the example: from the installed package, or from the source tree this package runs in."""
    installed = resources.files(labferry).joinpath(EXAMPLE)
    if installed.is_file():
        return installed.read_text("utf-8")
    source_tree = os.path.join(os.path.dirname(labferry.__file__), os.pardir, os.pardir, "etc", EXAMPLE)
    with open(source_tree, encoding="utf-8") as file:
        return file.read()


def _print_json(data: object) -> None:
    click.echo(json.dumps({"schema": 1, "ok": True, "data": data, "error": None}))


def _fail(error: ConfigError, as_json: bool, data: object = None) -> NoReturn:
    if as_json:
        answer = {"code": error.code, "message": error.message, "hint": error.hint}
        click.echo(json.dumps({"schema": 1, "ok": False, "data": data, "error": answer}))
    else:
        click.echo(error.message, err=True)
        click.echo(error.hint, err=True)
    raise click.exceptions.Exit(error.exit_code)
