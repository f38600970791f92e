"""Where the control socket is, found without loading the configuration.

For every command that talks to the daemon: standard library only, so that `labferry status` answers at once.
Reads one key of the configuration file and checks nothing else of it; a daemon that runs is reachable however
much of its file was spoilt since.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping

from labferry.errors import ConfigError

DEFAULT_SOCKET = "/run/labferry/control.sock"
DEFAULT_CONFIG = "/etc/labferry/config.toml"


def socket_path(option: str | None, config_option: str | None, environ: Mapping[str, str]) -> str:
    """Find the control socket.

    Parameters
    ----------
    option : str or None
        What `--socket` says; it wins.
    config_option : str or None
        What `--config` says.
    environ : Mapping
        LABFERRY_CONTROL__SOCKET comes before the file, LABFERRY_CONFIG names the file without `config_option`.

    Returns
    -------
    str
        The given path, else the variable, else `[control] socket` of the file, else the default.

    Raises
    ------
    ConfigError
        A file that was named, not just assumed, cannot be read: the default socket could be another daemon's.
    """
    if given := option or environ.get("LABFERRY_CONTROL__SOCKET"):
        return given
    named = config_option or environ.get("LABFERRY_CONFIG")
    path = named or DEFAULT_CONFIG
    try:
        with open(path, "rb") as file:
            table = tomllib.loads(file.read().decode("utf-8-sig"))
    except (OSError, ValueError) as error:
        if named:
            raise ConfigError(
                f"{os.fsencode(path).decode('utf-8', 'backslashreplace')}: cannot be read to find the control "
                f"socket: {getattr(error, 'strerror', None) or error}",
                "Correct --config (or LABFERRY_CONFIG), or name the socket with --socket.",
            ) from None
        return DEFAULT_SOCKET
    control = table.get("control")
    written = control.get("socket") if isinstance(control, dict) else None
    return written if isinstance(written, str) and written else DEFAULT_SOCKET
