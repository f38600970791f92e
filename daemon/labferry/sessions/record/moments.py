"""Times as rigs write them, read as Alyx keeps them: naive local wall time (ruling 12).

Room: sessions. Pure.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo

_LONGEST = 64  # characters
_MOMENT = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d+))?)?(?: ?([Zz]|[+-]\d\d(?::?\d\d)?))?", re.ASCII
)


def local_moment(text: str, timezone: tzinfo | None) -> datetime:
    """Read an ISO 8601 time as naive wall time.

    An offset is dropped, the wall time beside it is what the clock of the rig showed. `Z` says that it is no wall
    time: it is converted. Fractions of a second are cut to microseconds, whatever their length.

    Parameters
    ----------
    timezone : datetime.tzinfo or None
        Of the lab's wall clocks; None is this machine's.

    Raises
    ------
    ValueError
        Not such a time.
    """
    match = _MOMENT.fullmatch(text.strip()) if len(text) <= _LONGEST else None
    if match is None:
        raise ValueError("not an ISO 8601 date and time")
    day, hour, minute, second, fraction, zone = match.groups()
    moment = datetime.fromisoformat(f"{day}T{hour}:{minute}:{second or '00'}.{(fraction or '0')[:6]:0<6}")
    if zone not in ("Z", "z"):
        return moment
    try:
        return moment.replace(tzinfo=UTC).astimezone(timezone).replace(tzinfo=None)
    except (OverflowError, OSError):  # the first and the last day of the calendar
        raise ValueError("out of range") from None


def same_moment(one: object, other: object) -> bool:
    """Say whether two values name the same time, whatever the form: offsets are dropped, fractions may be cut off.

    Alyx gives back what it was given, but that is a matter of its settings; a weighing must be known again by any.
    """
    if not isinstance(one, str) or not isinstance(other, str):
        return False
    try:
        apart = _wall(one) - _wall(other)
    except ValueError:
        return False
    return abs(apart) < timedelta(seconds=1)


def _wall(text: str) -> datetime:
    return local_moment(re.sub(r"[Zz]\s*\Z", "", text), None)
