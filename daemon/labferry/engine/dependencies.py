"""The outside world as the lanes see it: up, down or in need of a login; one breaker per dependency.

While a breaker is open no job that needs the dependency is claimed, so an outage is one state and one alert
and burns no attempts. After a while one probe is let through; its success closes the breaker.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from enum import StrEnum

from labferry.engine.policy import Limits, backoff
from labferry.errors import UnavailableError
from labferry.model import Clock

_LOGIN_CODES = frozenset({"alyx_login", "globus_login"})
LONGEST_SILENCE = 60.0  # seconds between probes: what is back is used again within a minute


class Health(StrEnum):
    """How a dependency is."""

    UP = "up"
    DOWN = "down"
    NEEDS_LOGIN = "needs_login"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Dependency:
    """One dependency; `since` in epoch seconds, `closed_until` on the monotonic clock."""

    name: str
    state: Health
    since: float
    code: str = ""
    detail: str = ""
    failures: int = 0
    closed_until: float = 0.0


class Dependencies:
    """All dependencies with their breakers; used from every lane."""

    def __init__(self, names: list[str], clock: Clock, limits: Limits) -> None:
        self._clock = clock
        self._limits = limits
        self._lock = threading.Lock()
        self._all = {name: Dependency(name, Health.UNKNOWN, clock.now()) for name in names}

    def snapshot(self) -> list[Dependency]:
        """Return how each dependency is."""
        with self._lock:
            return list(self._all.values())

    def open_for(self, name: str) -> float:
        """Return the seconds until work that needs this dependency may be tried; 0 means now.

        Whoever gets 0 while the dependency is down is the probe: the next caller waits again.
        """
        with self._lock:
            one = self._all[name]
            if one.state in {Health.UP, Health.UNKNOWN}:
                return 0.0
            now = self._clock.monotonic()
            if now < one.closed_until:
                return one.closed_until - now
            self._all[name] = replace(one, closed_until=now + self._delay(one.failures))
            return 0.0

    def hurry(self) -> None:
        """Let a probe through at once: a person says that the world has changed."""
        with self._lock:
            self._all = {name: replace(one, failures=0, closed_until=0.0) for name, one in self._all.items()}

    def went_down(self, error: UnavailableError) -> bool:
        """Open the breaker; return True when the dependency was not down before."""
        with self._lock:
            one = self._all.get(error.dependency) or Dependency(error.dependency, Health.UNKNOWN, self._clock.now())
            state = Health.NEEDS_LOGIN if error.code in _LOGIN_CODES else Health.DOWN
            delay = max(error.retry_after, self._delay(one.failures))
            self._all[error.dependency] = replace(
                one,
                state=state,
                since=one.since if one.state is state else self._clock.now(),
                code=error.code,
                detail=error.message,
                failures=one.failures + 1,
                closed_until=self._clock.monotonic() + delay,
            )
            return one.state is not state

    def came_up(self, name: str) -> str | None:
        """Close the breaker; return the code it was down with, None when it was not down."""
        with self._lock:
            one = self._all[name]
            if one.state is Health.UP:
                return None
            self._all[name] = Dependency(name, Health.UP, self._clock.now())
            return one.code or None

    def _delay(self, failures: int) -> float:
        return min(LONGEST_SILENCE, max(1.0, backoff(failures, 1.0, self._limits)))
