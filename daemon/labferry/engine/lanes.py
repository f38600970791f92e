"""A lane: a named thread that does one kind of work, shows that it is alive, and stops when asked.

The heartbeat is what the service's watchdog looks at: a lane is alive while it has beaten recently, or while
it said in advance how long its current work may take.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass

import structlog

from labferry.engine.wakeup import Wakeup
from labferry.errors import UnavailableError
from labferry.model import Clock

IDLE_BEAT = 5.0  # seconds: an idle lane beats at least this often
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Beat:
    """A lane's sign of life: what it does, and until when silence is fine (monotonic seconds)."""

    lane: str
    doing: str
    fresh_until: float


class LaneThread(ABC):
    """The loop around one lane's turns.

    A turn that raises is logged and the lane goes on: one poisoned job must not silence a lane. Turns turn
    what they expect into outcomes themselves, so only faults of labferry itself arrive here.
    """

    def __init__(self, name: str, wakeup: Wakeup, clock: Clock) -> None:
        self.name = name
        self._wakeup = wakeup
        self._clock = clock
        self._beat = Beat(name, "starting", clock.monotonic() + 60.0)
        self._paused = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"lane-{name}", daemon=True)

    @abstractmethod
    def turn(self) -> float:
        """Do one piece of work; return the seconds until the next one may be due (0: at once)."""

    def tidy(self) -> None:  # noqa: B027 - most lanes hold nothing
        """Release what the lane holds; runs in its thread, after the last turn."""

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def join(self, timeout: float) -> bool:
        """Wait for the thread; return True when it has ended, or never began."""
        if self._thread.ident is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def beat(self, doing: str, at_most: float = 2 * IDLE_BEAT) -> None:
        """Show life: `doing` may take `at_most` seconds before the next beat."""
        self._beat = Beat(self.name, doing, self._clock.monotonic() + at_most)

    @property
    def last_beat(self) -> Beat:
        """The lane's last sign of life."""
        return self._beat

    @property
    def alive(self) -> bool:
        """True while the thread runs and its last sign of life is fresh."""
        return self._thread.is_alive() and self._clock.monotonic() < self._beat.fresh_until

    @property
    def paused(self) -> bool:
        """True while an operator paused the lane."""
        return self._paused.is_set()

    def pause(self, paused: bool) -> None:
        """Stop or go on taking work; the piece at hand is finished."""
        if paused:
            self._paused.set()
        else:
            self._paused.clear()
        self._wakeup.ring()

    def _run(self) -> None:
        waits_for = ""
        while not self._wakeup.stopping:
            heard = self._wakeup.rings
            try:
                pause = IDLE_BEAT if self.paused else self.turn()
                waits_for = ""
            except UnavailableError as error:
                if error.message != waits_for:  # said once, not at every turn
                    _log.warning("lane_waits", lane=self.name, code=error.code, why=error.message)
                waits_for = error.message
                pause = IDLE_BEAT
            except Exception:  # noqa: BLE001 - top of a lane: the daemon outlives every single fault
                _log.exception("lane_fault", lane=self.name)
                pause = IDLE_BEAT
            self.beat("idle")
            if pause > 0:
                self._wakeup.wait(heard, min(pause, IDLE_BEAT))
        self.tidy()
