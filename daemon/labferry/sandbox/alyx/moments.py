"""Dates and times as the real server reads and writes them: naive, in its own time zone (UTC here).

Room: sandbox.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from labferry.sandbox.alyx.answers import FailedError

_DAY = re.compile(r"\d{4}-\d{1,2}-\d{1,2}$")


def naive(moment: datetime) -> datetime:
    """Convert to the server's time zone and drop the offset."""
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


def moment_text(seconds: float) -> str:
    """Render epoch seconds as the server shows a time: ISO, microseconds, no offset."""
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat()


def read_moment(text: str) -> str:
    """Return an ISO time normalised to the server's form.

    Raises
    ------
    ValueError
        Not an ISO date or time.
    """
    return naive(datetime.fromisoformat(text.strip())).isoformat()


def read_day(text: str) -> str:
    """Return `text` as YYYY-MM-DD.

    Raises
    ------
    FailedError
        Not a date, in the real server's two wordings.
    """
    if not _DAY.match(text):
        raise FailedError(f"['“{text}” value has an invalid date format. It must be in YYYY-MM-DD format.']")
    try:
        return datetime.strptime(text, "%Y-%m-%d").date().isoformat()
    except ValueError as error:
        message = f"['“{text}” value has the correct format (YYYY-MM-DD) but it is an invalid date.']"
        raise FailedError(message) from error
