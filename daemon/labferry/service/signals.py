"""What the process is asked by signal: to stop, or to read its configuration again.

Room: service. A handler runs between any two steps of the main thread, inside a lock of its own perhaps, so it only
notes what was asked and rings a bell that takes no lock.
"""

from __future__ import annotations

import os
import select
import signal
from types import FrameType

STOP = (signal.SIGTERM, signal.SIGINT)
HANG_UP = signal.SIGHUP


class Signals:
    """Hears SIGTERM, SIGINT and SIGHUP from its making on; for the main thread, once per process.

    SIGHUP asks for a reload, as of any service. Who runs in a terminal gets it when the window is closed: then it
    asks to stop.
    """

    def __init__(self) -> None:
        self._in_terminal = _has_terminal()
        self._stop = False
        self._reload = False
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll = select.poll()
        self._poll.register(self._bell, select.POLLIN)
        for number in (*STOP, HANG_UP):
            signal.signal(number, self._hear)

    @property
    def stop(self) -> bool:
        """True once the process was asked to stop."""
        return self._stop

    def take_reload(self) -> bool:
        """Return whether a reload was asked for since the last call."""
        asked, self._reload = self._reload, False
        return asked

    def wait(self, seconds: float) -> None:
        """Sleep until a signal comes, or for so long; one that came before ends the sleep at once."""
        if self._poll.poll(seconds * 1000):
            os.eventfd_read(self._bell)

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        if number in STOP or self._in_terminal:
            self._stop = True
        else:
            self._reload = True
        os.eventfd_write(self._bell, 1)


def _has_terminal() -> bool:
    try:
        os.close(os.open(os.ctermid(), os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
