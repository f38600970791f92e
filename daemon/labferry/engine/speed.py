"""How fast transfers are: from what was moved in the last minute, by the clock that never jumps.

An average since the start would say nothing of a mount that has become slow, and the wall clock may be set. Nothing
here is stored: a restarted daemon does not know a speed before it has seen something move.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import NamedTuple

from labferry.model import Clock

WINDOW = 60.0  # seconds that are looked back; at least to the look before the last one
SHORTEST = 1.0  # seconds between two samples that are kept


class _Sample(NamedTuple):
    at: float
    bytes_done: int


class Speeds:
    """The speeds of the transfers that are moving now; noted by their lanes, asked for by reports."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._samples: dict[int, deque[_Sample]] = {}

    def note(self, transfer_id: int, bytes_done: int) -> None:
        """Note how much of a transfer is done now."""
        now = self._clock.monotonic()
        with self._lock:
            samples = self._samples.setdefault(transfer_id, deque())
            if samples and bytes_done < samples[-1].bytes_done:
                samples.clear()  # it begins again
            if samples and now - samples[-1].at < SHORTEST:
                return
            samples.append(_Sample(now, bytes_done))
            while len(samples) > 2 and samples[1].at <= now - WINDOW:
                samples.popleft()

    def forget(self, transfer_id: int) -> None:
        """Forget a transfer that nobody moves any more."""
        with self._lock:
            self._samples.pop(transfer_id, None)

    def moving(self) -> list[int]:
        """Return the transfers that somebody moves now."""
        with self._lock:
            return sorted(self._samples)

    def of(self, transfer_id: int) -> float | None:
        """Return the bytes per second of a transfer; None where that is not known, or not any more."""
        now = self._clock.monotonic()
        with self._lock:
            samples = self._samples.get(transfer_id)
            if samples is None or len(samples) < 2:
                return None
            first, last = samples[0], samples[-1]
            if now - last.at > max(WINDOW, 2 * (last.at - samples[-2].at)):
                return None
            return (last.bytes_done - first.bytes_done) / (last.at - first.at)


def seconds_left(left: int, speed: float | None) -> float | None:
    """Return how long so many bytes take at a speed; None where it is not known, or nothing moves."""
    if speed is None or speed <= 0:
        return None
    return round(left / speed, 1)
