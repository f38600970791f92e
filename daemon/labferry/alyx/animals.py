"""The registry room's weighings and water administrations: looking, and creating with one bare request.

Alyx keeps the same POST twice as two of them, so whoever creates has looked before (ruling 11). From here only Alyx is
touched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from labferry.alyx.client import AlyxClient
from labferry.alyx.fields import Json, as_created, identity, text
from labferry.sessions.record import same_moment


def weighings_of_day(client: AlyxClient, nickname: str, day: str) -> Sequence[Json]:
    """Return the weighings of a subject on a day (ISO date)."""
    query: dict[str, str | int] = {"nickname": nickname, "django": f"date_time__date,{day}"}
    rows = client.list_all("/weighings", query)
    # Case matters, though Alyx does not mind it; and it says nothing about a filter that it does not know.
    return [row for row in rows if text(row, "subject") == nickname and text(row, "date_time")[:10] == day]


def waters_of_session(client: AlyxClient, eid: str) -> Sequence[Json]:
    """Return the water administrations of a session."""
    rows = client.list_all("/water-administrations", {"django": f"session,{eid}"})
    return [row for row in rows if text(row, "session") == eid]


def create_weighing(client: AlyxClient, body: Json) -> str:
    """Create a weighing: exactly one POST; return its id."""
    return identity(as_created(client.post("/weighings", body), "POST /weighings"))


def create_water(client: AlyxClient, body: Json) -> str:
    """Create a water administration: exactly one POST; return its id."""
    return identity(as_created(client.post("/water-administrations", body), "POST /water-administrations"))


def find_same(rows: Sequence[Json], body: Mapping[str, object], keys: Sequence[str]) -> str | None:
    """Return the id of the row that has these keys as `body`; the value itself is never part of the key."""
    return next((identity(row) for row in rows if all(_equal(row.get(key), body.get(key)) for key in keys)), None)


def _equal(theirs: object, ours: object) -> bool:
    return theirs == ours or same_moment(theirs, ours)
