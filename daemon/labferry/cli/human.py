"""Numbers and moments as people read them: sizes, durations, ages, counts.

Room: cli. Pure functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from labferry.model import rough_duration as duration
from labferry.model import utc_seconds

__all__ = ["age", "ago", "duration", "local_time", "plural", "size"]

_SIZES = ("kB", "MB", "GB", "TB", "PB")


def size(count: float) -> str:
    """Return bytes in decimal units, three digits: `812 B`, `1.20 GB`, `45.3 GB`."""
    if count < 1000:
        return f"{count:.0f} B"
    value, power = count / 1000, 0
    while value >= 999.5 and power < len(_SIZES) - 1:
        value, power = value / 1000, power + 1
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{digits}f} {_SIZES[power]}"


def share(transfer: Mapping[str, Any]) -> str:
    """Return how much of a transfer's bytes is done: `24 %`; of its files where it has no bytes."""
    what = "bytes" if transfer["bytes_total"] else "files"
    done, total = transfer.get(f"{what}_done", 0), transfer.get(f"{what}_total", 0)
    return f"{100 * done // total} %" if total else ""


def speed(transfer: Mapping[str, Any]) -> str:
    """Return how fast a transfer moves: `45.3 MB/s`; empty where that is not known."""
    known = transfer.get("bytes_per_s")
    return "" if known is None else f"{size(known)}/s"


def time_left(transfer: Mapping[str, Any]) -> str:
    """Return how long a transfer still takes: `3 min left`; empty where that is not known."""
    known = transfer.get("seconds_left")
    return "" if known is None else f"{duration(known)} left"


def progress(transfer: Mapping[str, Any]) -> str:
    """Return all of it: `24 % of 5.00 GB, 12 of 200 files, 45.3 MB/s, 3 min left`."""
    done = f"{share(transfer)} of {size(transfer['bytes_total'])}".removeprefix(" of ")
    known = "files_total" in transfer  # an older daemon says nothing of files
    files = f"{transfer['files_done']:,} of {plural(transfer['files_total'], 'file')}" if known else ""
    return ", ".join(filter(None, (done, files, speed(transfer), time_left(transfer))))


def age(moment: str | None, now: float) -> str:
    """Return how long ago an RFC 3339 time was: `3 min`; empty when there is none.

    Parameters
    ----------
    moment : str or None
    now : float
        Epoch seconds.
    """
    seconds = _seconds(moment)
    if seconds is None:
        return moment or ""
    return duration(round(max(0.0, now - seconds)))


def ago(moment: str | None, now: float) -> str:
    """Return `age` in a sentence: `3 min ago`, `now`, `never`, and `in 5 min` for what is to come."""
    seconds = _seconds(moment)
    if seconds is None:
        return moment or "never"
    if seconds - now >= 1:
        return f"in {duration(round(seconds - now))}"
    return f"{age(moment, now)} ago" if now - seconds >= 1 else "now"


def local_time(moment: str | None) -> str:
    """Return an RFC 3339 time as the operator's wall clock shows it, seconds included."""
    seconds = _seconds(moment)
    if seconds is None:
        return moment or ""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def plural(count: int, noun: str) -> str:
    """Return a count with its noun: `1 session`, `20,012 sessions`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _seconds(moment: str | None) -> float | None:
    try:
        return utc_seconds(moment) if moment else None
    except ValueError:
        return None
