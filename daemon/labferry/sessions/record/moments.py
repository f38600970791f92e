"""Times as rigs write them, read as Alyx keeps them: naive local wall time (ruling 12).

Room: sessions. Pure.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo

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
