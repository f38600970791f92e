"""A word to systemd (`sd_notify`): ready, alive, what we do, going.

Room: observe. Datagrams to the socket that systemd names in the environment; without one, silence.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from typing import Self

PATIENCE = 1.0  # seconds for systemd to make room for a message


class Notifier:
    """Tells the service manager how the daemon is. Never raises: the daemon works without being heard.

    Parameters
    ----------
    address : str or None
        The socket's path, `@name` for an abstract one; None says nothing.
    watchdog_interval : float or None
        Seconds within which `watchdog` must be called again, half of what systemd waits; None when it does not
        wait.
    """

    def __init__(self, address: str | None = None, watchdog_interval: float | None = None) -> None:
        self._address = address
        self.watchdog_interval = watchdog_interval

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Return the notifier that the environment asks for; a silent one without NOTIFY_SOCKET."""
        address = environ.get("NOTIFY_SOCKET") or None
        if address is not None and address[0] not in "/@":
            address = None
        return cls(address, _interval(environ))

    @property
    def heard(self) -> bool:
        """True where somebody may listen."""
        return self._address is not None

    def ready(self) -> None:
        """Say that the daemon serves: lock, journal, socket and the first scan are done."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """Say in one line what the daemon does; `systemctl status` shows it."""
        self._send(f"STATUS={' '.join(text.split())}")

    def watchdog(self) -> None:
        """Say that every part of the daemon is alive."""
        self._send("WATCHDOG=1")

    def expect_silence(self, seconds: float) -> None:
        """Ask for so many seconds until the next `watchdog`: a long chore of the one who calls it begins."""
        self._set_watchdog(seconds)

    def expect_beats(self) -> None:
        """Take `expect_silence` back: the chore is done."""
        if self.watchdog_interval is not None:
            self._set_watchdog(2 * self.watchdog_interval)

    def _set_watchdog(self, seconds: float) -> None:
        if self.watchdog_interval is not None:
            self._send(f"WATCHDOG=1\nWATCHDOG_USEC={round(seconds * 1e6)}")

    def reloading(self) -> None:
        """Say that the daemon reads its configuration again; `ready` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that the daemon is on its way out."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if self._address is None:
            return
        address = os.fsencode(self._address)
        if address.startswith(b"@"):
            address = b"\0" + address[1:]
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.settimeout(PATIENCE)
                channel.connect(address)  # otherwise the wait for a full queue is a loop
                channel.send(message.encode("utf-8", "backslashreplace"))
        except OSError:
            return  # systemd counts what it does not hear; there is nobody else to tell


def _interval(environ: Mapping[str, str]) -> float | None:
    """Return half of the watchdog's time when it is meant for this process."""
    try:
        microseconds = int(environ["WATCHDOG_USEC"])
        pid = int(environ.get("WATCHDOG_PID") or os.getpid())
    except (KeyError, ValueError):
        return None
    return microseconds / 2e6 if microseconds > 0 and pid == os.getpid() else None
