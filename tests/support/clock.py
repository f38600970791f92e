"""A clock that tests turn by hand."""

from __future__ import annotations


class FakeClock:
    """Wall and monotonic time move only when told to."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.wall = now
        self.mono = 1000.0

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.mono

    def pass_by(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        self.wall += seconds
        self.mono += seconds
