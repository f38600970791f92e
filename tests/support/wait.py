"""Waiting for something that another thread or process does: look again and again, until a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_LOOK_EVERY = 0.02  # seconds


def wait_until(predicate: Callable[[], T], timeout: float = 10.0, what: str | Callable[[], str] = "the condition") -> T:
    """Return the first true value of `predicate`; fail after `timeout` seconds, naming `what` was waited for.

    A callable `what` is asked only when the wait has failed.
    """
    deadline = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= deadline:
            name = what() if callable(what) else what
            raise AssertionError(f"{name} did not happen within {timeout:g} s (last seen: {value!r})")
        time.sleep(_LOOK_EVERY)
