"""Processes of the demo: started on a leash, in an environment of their own, and ended with it.

Room: cli.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import IO

# What the operator's own daemon, systemd or ONE would take from the environment must not reach the demo's; and
# nothing goes through a proxy, because everything is on this machine.
_OTHERS = ("LABFERRY_", "ONE_")
_OTHERS_EXACT = frozenset({"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "CREDENTIALS_DIRECTORY", "JOURNAL_STREAM"})


def environment(**more: str) -> dict[str, str]:
    """Return the environment for a process of the demo."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not (name.startswith(_OTHERS) or name in _OTHERS_EXACT or name.lower().endswith("_proxy"))
    }
    return {**kept, "PYTHONUNBUFFERED": "1", **more}


def start(
    module: Sequence[str],
    environ: dict[str, str],
    *,
    stdout: IO[bytes] | int,
    stderr: IO[bytes] | int,
    stdin: int = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    """Start `python -m MODULE …`; call it from the main thread, whose end counts as the demo's.

    The process has a session of its own: Ctrl-C reaches the demo alone, which then ends it in good order.
    """
    return subprocess.Popen(  # noqa: S603 - this very interpreter, with our own module
        [sys.executable, "-m", "labferry.cli.demonstration.leash", str(os.getpid()), *module],
        env=environ,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
    )


def end(process: subprocess.Popen[bytes], grace: float) -> None:
    """Ask a process to end, and kill it after `grace` seconds."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(grace)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
