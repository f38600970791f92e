"""The Alyx login tested without a daemon: by a command, with the rights of whoever runs it.

A daemon does not start without its secret, so the way to give it one must not need a daemon.
"""

from __future__ import annotations

import os
from typing import Any

from labferry.config import load
from labferry.engine.reports.login import alyx_login
from labferry.model import SystemClock
from labferry.service.assembly import alyx_client


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
