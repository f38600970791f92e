"""Detection room: what was there before us. Pure, but for one look at when a folder changed last.

A session is history when neither it nor its folder is young, counted from the moment its root was met for the first
time, and not from now: a folder that a scan could not see on that day (its disk was not mounted, a subject's folder was
closed) is history all the same when it is found, and one that is recorded from then on never is (ruling 2).
"""

from __future__ import annotations

import os
from datetime import UTC, date, datetime, time, timedelta

ONE_DAY = timedelta(days=1)


def is_history(recorded_on: date, changed_at: float, met_at: float, age: float) -> bool:
    """Say whether a session is history.

    Parameters
    ----------
    recorded_on : datetime.date
        The day that its path names.
    changed_at : float
        When something was last put into its folder, taken out or renamed there, or the folder itself came to its
        place: its change time, epoch seconds. No program can set it back.
    met_at : float
        When its root was met for the first time, epoch seconds.
    age : float
        `history_age`, seconds.
    """
    day_over = datetime.combine(recorded_on + ONE_DAY, time.min, UTC).timestamp()
    return max(day_over, changed_at) <= met_at - age


def folder_changed_at(folder: bytes) -> float | None:
    """Return the change time of a folder in epoch seconds; None when it cannot be asked."""
    try:
        return os.lstat(folder).st_ctime
    except OSError:
        return None
