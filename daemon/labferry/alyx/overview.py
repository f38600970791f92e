"""The registry room's overview: all sessions of a subject at once, where each of them would otherwise be asked for.

From here only Alyx is touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from labferry.alyx.client import AlyxClient
from labferry.alyx.fields import identity, number, text

DAY = len("2024-05-31")  # of a start time


@dataclass(frozen=True, slots=True)
class KnownSession:
    """A session of which Alyx says that it is there; `lab` may be empty."""

    eid: str
    lab: str


def sessions_of(client: AlyxClient, subject: str) -> Mapping[tuple[str, int], tuple[KnownSession, ...]]:
    """Return the sessions of a subject by ISO date and number; more than one of a kind should be one.

    Raises
    ------
    RefusedError
        Alyx understood and said no.
    UnavailableError
        It cannot be asked now.
    """
    found: dict[tuple[str, int], tuple[KnownSession, ...]] = {}
    for row in client.list_all("/sessions", {"subject": subject}):
        count = number(row, "number")
        if text(row, "subject") != subject or count is None:
            continue  # case matters, though Alyx does not mind it
        key = (text(row, "start_time")[:DAY], count)
        found[key] = (*found.get(key, ()), KnownSession(identity(row), text(row, "lab")))
    return found
