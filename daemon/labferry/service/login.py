"""Logins without a daemon: by a command, with the rights of whoever runs it.

A daemon does not start without its secret, so the way to give it one must not need a daemon.
"""

from __future__ import annotations

import os
from typing import Any

from labferry.config import load
from labferry.engine.globus.access import GlobusAccess
from labferry.engine.reports import globus_login
from labferry.engine.reports.login import alyx_login
from labferry.errors import LabferryError
from labferry.model import SystemClock
from labferry.service.assembly import alyx_client, globus_access, uses_globus


def log_in_to_alyx(config_path: str | None, password: str | None = None) -> dict[str, Any]:
    """Log in as the configuration says, or with a password that was just typed; return the report of it.

    Raises
    ------
    ConfigError
        The configuration cannot be used; a secret file that is missing or wrong is part of the report instead.
    """
    config = load(config_path, os.environ, check_secrets=False)
    client = alyx_client(config, SystemClock())
    if password is not None:
        client = client.another(lambda: password)
    return alyx_login(client, config.alyx)


def test_globus(config_path: str | None) -> dict[str, Any]:
    """Log in to Globus as the configuration says; return the report of it. Raises as `access`."""
    return globus_login.tested(_access(config_path))


def start_globus(config_path: str | None, *, replace: bool) -> dict[str, Any]:
    """Begin a person's login to Globus; raises as `logging_in.begin` and `access`."""
    return globus_login.started(_access(config_path), replace=replace)


def finish_globus(config_path: str | None, code: str) -> dict[str, Any]:
    """Finish a person's login to Globus; raises as `logging_in.finish` and `access`."""
    return globus_login.finished(_access(config_path), code)


def _access(config_path: str | None) -> GlobusAccess:
    """Return the way into Globus of a daemon that does not run.

    Raises
    ------
    LabferryError
        `no_globus`, or the configuration cannot be used. `not_permitted`: the login is the service user's.
    """
    config = load(config_path, os.environ, check_secrets=False)
    if not uses_globus(config):
        raise LabferryError(
            "no_globus", "No root is archived through Globus.", 'A root needs an archive of kind = "globus" first.'
        )
    access = globus_access(config, SystemClock())
    if access.person is not None and not _may_keep(config.state_dir):
        raise LabferryError(
            "not_permitted", f"The login to Globus belongs to the owner of {config.state_dir}.", "Run it as root."
        )
    return access


def _may_keep(state_dir: str) -> bool:
    """Tell whether what we write there can be read by the daemon: we are its user, or may give it away."""
    try:
        return os.geteuid() in {0, os.stat(state_dir).st_uid}
    except OSError:
        return True  # not there yet: ours to make
