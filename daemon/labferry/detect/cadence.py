"""Detection room: when is a session that was complete looked at again? Pure: times in, times out, no clock.

Pipelines put files into a session hours or days after it was complete, and hardly ever after months. So looks become
rarer with age. Every session has a place of its own in each interval, made of its id: thousands that were found by the
same scan, or met by the same start, are looked at one after the other and not all at once.
"""

from __future__ import annotations

from typing import NamedTuple

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
YOUNG = 30 * DAY  # for so long a session is looked at as often as ever
RAREST_TIMES = 24 * HOUR  # a folder's own time is asked for at least so often, whatever the age …
RAREST_FILES = 30 * DAY  # … and so is that of every file
FIRST = 10 * MINUTE  # to the first look at a session that was complete a short time ago …
LATELY = DAY  # … that is: for so long
SPREAD = 0.25  # of an interval: so much earlier than it would have to be is a session looked at
_GOLDEN = 0.6180339887498949  # multiples of it, without their whole part, lie evenly wherever one stops


class Due(NamedTuple):
    """When to look next, in monotonic seconds: at the times of the folders, and at those of every file."""

    times: float
    files: float


def times_every(age: float) -> float:
    """Return the longest time between two looks at the times of a session's folders, in seconds.

    Parameters
    ----------
    age : float
        Seconds since the session was complete last; a negative one (the wall clock was set back) counts as none.
    """
    return min(RAREST_TIMES, HOUR * max(1.0, age / YOUNG))


def files_every(age: float) -> float:
    """Return the longest time between two looks at every file of a session, in seconds."""
    return min(RAREST_FILES, DAY * max(1.0, age / YOUNG))


def place(session_id: int) -> float:
    """Return where in an interval a session has its turn, from 0 to 1."""
    return session_id * _GOLDEN % 1.0


def first(session_id: int, age: float, seen: float | None, now: float) -> Due:
    """Return when a session is looked at for the first time in a life of the daemon.

    Parameters
    ----------
    session_id : int
    age : float
    seen : float or None
        Seconds since every file was looked at; None when that never happened. A negative one counts as 0.
    now : float
        Monotonic seconds.
    """
    turn = place(session_id)
    times, files = first_within(age, seen), files_every(age)
    if seen is None:
        return Due(now + turn * times, now + turn * times)
    # What is overdue has its place in a whole interval from now on: a start after a long holiday is no rush either.
    return Due(now + turn * times, max(now + turn * files, now + files - max(0.0, seen)))


def first_within(age: float, seen: float | None) -> float:
    """Return the longest time to the first look at a session's folders in a life of the daemon, in seconds.

    What came after the archive's own look at the folder, and while no daemon ran to hear of it, is seen by that look
    only. So a session that nobody looked at since it was complete does not wait for an hour.
    """
    is_news = (seen is None or seen > age) and age < LATELY
    return FIRST if is_news else times_every(age)


def after(session_id: int, age: float, due: Due, now: float, *, files: bool) -> Due:
    """Return when to look again after a look at the times of the folders, or at all `files` as well."""
    early = 1.0 - SPREAD * place(session_id)
    return Due(now + early * times_every(age), now + early * files_every(age) if files else due.files)
