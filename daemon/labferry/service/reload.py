"""The configuration read again while the daemon runs: taken, or refused and the old one goes on.

Room: service. Reads the configuration; writes one word for whoever asked through systemd.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from labferry.config import Config, load
from labferry.control.server import bind_socket
from labferry.errors import ConfigError
from labferry.service.assembly import require_available

ANSWER = "reload"  # in the runtime directory; the unit's ExecReload waits for it and takes `reloaded` as success
RELOADED = "reloaded"


def read_again(running: Config, environ: Mapping[str, str] = os.environ) -> Config:
    """Return the configuration as its file has it now.

    Parameters
    ----------
    running : Config
        The one that counts so far.

    Raises
    ------
    LabferryError
        It cannot be used, or not without a restart.
    """
    new = load(running.path, environ)
    require_available(new)
    if new.state_dir != running.state_dir:
        raise ConfigError(
            f"state_dir was {running.state_dir} and is {new.state_dir} now: that needs a restart",
            "`systemctl restart labferry` begins in the new one; what the old journal knows stays in the old one.",
        )
    if new.control.socket != running.control.socket:
        bind_socket(new.control.socket, new.control.group).close()  # better refused now than missed later
        Path(new.control.socket).unlink()
    return new


def answer(word: str, environ: Mapping[str, str] = os.environ) -> None:
    """Leave word of what came of a reload, where systemd gave us a runtime directory for it."""
    folder = environ.get("RUNTIME_DIRECTORY")
    if not folder:
        return
    file = Path(folder, ANSWER)
    fresh = file.with_suffix(".new")
    with contextlib.suppress(OSError):  # who waits for it gives up by itself
        fresh.write_text(f"{word}\n", encoding="utf-8")
        fresh.replace(file)
