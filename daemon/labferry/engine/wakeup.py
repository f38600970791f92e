"""How lanes learn that there may be work, without polling fast and without losing a call."""

from __future__ import annotations

import threading


class Wakeup:
    """A bell that every waiting lane hears; rung when the journal may hold new work, and at the stop."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._rings = 0
        self._stopping = False

    @property
    def stopping(self) -> bool:
        """True once the daemon drains: claim nothing more."""
        return self._stopping

    @property
    def rings(self) -> int:
        """The number of rings so far; pass it to `wait` so that none in between is lost."""
        return self._rings

    def ring(self) -> None:
        """Wake every lane."""
        with self._condition:
            self._rings += 1
            self._condition.notify_all()

    def stop(self) -> None:
        """Wake every lane for the last time."""
        with self._condition:
            self._stopping = True
            self._rings += 1
            self._condition.notify_all()

    def wait(self, heard: int, timeout: float) -> None:
        """Sleep until a ring after number `heard`, the stop, or `timeout` seconds."""
        with self._condition:
            self._condition.wait_for(lambda: self._rings != heard or self._stopping, timeout)
