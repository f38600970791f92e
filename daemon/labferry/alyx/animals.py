"""The registry room's weighings and water administrations: looking, and creating with one bare request.

Alyx keeps the same POST twice as two of them, so whoever creates has looked before (ruling 11). From here only Alyx is
touched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from labferry.alyx.client import AlyxClient
from labferry.alyx.fields import Json, as_object, text


def weighings_of_day(client: AlyxClient, nickname: str, day: str) -> Sequence[Json]:
    """Return the weighings of a subject on a day (ISO date)."""
    query: dict[str, str | int] = {"nickname": nickname, "django": f"date_time__date,{day}"}
    return list(client.list_all("/weighings", query))


def waters_of_session(client: AlyxClient, eid: str) -> Sequence[Json]:
    """Return the water administrations of a session."""
    return list(client.list_all("/water-administrations", {"django": f"session,{eid}"}))


def create_weighing(client: AlyxClient, body: Json) -> str:
    """Create a weighing: exactly one POST; return its address."""
    return text(as_object(client.post("/weighings", body), "POST /weighings"), "url")


def create_water(client: AlyxClient, body: Json) -> str:
    """Create a water administration: exactly one POST; return its address."""
    return text(as_object(client.post("/water-administrations", body), "POST /water-administrations"), "url")


def find_same(rows: Sequence[Json], body: Mapping[str, object], keys: Sequence[str]) -> str | None:
    """Return the address of the row that has these keys as `body`; the value itself is never part of the key."""
    return next((text(row, "url") for row in rows if all(row.get(key) == body.get(key) for key in keys)), None)
