"""The rig at work in a thread of its own, and what it says of it.

Room: cli.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from pathlib import Path

from labferry.errors import LabferryError
from labferry.sandbox.rig import Rig, RigEvent, RigSession

RATE = 450_000.0  # bytes per second at speed 1: five sessions in a third of a minute


class _StoppedError(Exception):
    """The demo ends; the rig drops its pen."""


class Recording:
    """A rig that writes sessions below `root` until it is done or stopped.

    Parameters
    ----------
    root : Path
    sessions : int
    speed : float
        1 is the demo's own pace.
    """

    def __init__(self, root: Path, sessions: int, speed: float) -> None:
        self._events: queue.SimpleQueue[RigEvent] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._failure: LabferryError | None = None
        self._rig = Rig(root, sessions=sessions, rate=RATE * speed, sleep=self._sleep, on_event=self._note)
        self._thread = threading.Thread(target=self._run, name="rig", daemon=True)
        size = sum(session.size for session in self._rig.sessions)
        self.expected_s = size / (RATE * speed)

    @property
    def sessions(self) -> tuple[RigSession, ...]:
        """What it writes."""
        return self._rig.sessions

    @property
    def writing(self) -> bool:
        """Whether it is still at work."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """Leave it unfinished, as it is."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def events(self) -> Iterator[RigEvent]:
        """Yield what it did since the last call.

        Raises
        ------
        LabferryError
            It could not go on writing.
        """
        while not self._events.empty():
            yield self._events.get()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            self._rig.run()
        except LabferryError as error:
            self._failure = error
        except _StoppedError:
            return

    def _sleep(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise _StoppedError

    def _note(self, event: RigEvent) -> None:
        self._events.put(event)
        if self._stop.is_set():
            raise _StoppedError
