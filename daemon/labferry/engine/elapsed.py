"""How long ago something was sent, on the clock that nobody sets.

The wall times in the journal are for people: clocks are set back and forth. This life of the daemon counts from when
it sent a step, or first heard of it; after a restart the count begins anew, as the quiet period does (ruling 5).
"""

from __future__ import annotations

from labferry.model import Clock


class Elapsed:
    """Stop watches by job and name; shared by the lanes, where one job is in one lane at a time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began: dict[tuple[int, str], float] = {}

    def begin(self, job_id: int, name: str) -> None:
        """Start a watch, or start it again."""
        self._began[job_id, name] = self._clock.monotonic()

    def seconds(self, job_id: int, name: str) -> float:
        """Return how long a watch has run; one that was never started starts now."""
        now = self._clock.monotonic()
        return now - self._began.setdefault((job_id, name), now)

    def forget(self, job_id: int) -> None:
        """Drop the watches of a job that has ended."""
        for key in [key for key in list(self._began) if key[0] == job_id]:
            self._began.pop(key, None)
