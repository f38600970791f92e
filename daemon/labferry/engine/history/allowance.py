"""How often Alyx may be asked about history: some questions at once, then a few per second."""

from __future__ import annotations

from labferry.model import Clock

# Alyx takes 550 requests a minute from one user. No minute of ours has more than 360 of these: live work has its share.
# A lab with a small past is done with it at once; 20,000 sessions take three hours, and nobody waits for them.
RATE = 2.0  # per second, in the long run
AT_ONCE = 240.0


class Allowance:
    """A purse that fills with time; what was spent too much is saved up again before the next question.

    Parameters
    ----------
    clock : Clock
    rate : float
        Questions per second.
    at_once : float
        As many as it holds, and at the beginning has.
    """

    def __init__(self, clock: Clock, rate: float = RATE, at_once: float = AT_ONCE) -> None:
        self._clock = clock
        self._rate = rate
        self._at_once = at_once
        self._held = at_once
        self._filled_at = clock.monotonic()

    def wait(self) -> float:
        """Return the seconds until a question may be asked; 0 means now."""
        now = self._clock.monotonic()
        self._held = min(self._at_once, self._held + (now - self._filled_at) * self._rate)
        self._filled_at = now
        return max(0.0, (1.0 - self._held) / self._rate)

    def spend(self) -> None:
        """Note a question."""
        self._held -= 1.0
