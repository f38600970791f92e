"""Weighings and water administrations.

Room: sandbox. Neither is unique: the same POST twice is two of them. A weighing is kept before anything is computed
from it, so a 500 does not mean that it is not there.
"""

from __future__ import annotations

from typing import cast

from labferry.sandbox.alyx.answers import FailedError, missing
from labferry.sandbox.alyx.api import Call, Route
from labferry.sandbox.alyx.fields import Field, amount, boolean, check, moment, named, reference, row_id, subject
from labferry.sandbox.alyx.queries import Column, Listing, Parameter
from labferry.sandbox.alyx.store import Row, Value, new_id
from labferry.sandbox.http import Response, json_response

_WEIGHINGS = "SELECT w.*, s.nickname FROM weighing w JOIN subject s ON s.id = w.subject"
_WATERS = "SELECT w.*, s.nickname FROM water_administration w JOIN subject s ON s.id = w.subject"


def of_subject(call: Call, subject_id: str) -> dict[str, object]:
    """Return all that an animal was weighed and given, as the subject shows it."""
    weighings = call.db.all(f"{_WEIGHINGS} WHERE w.subject = ? ORDER BY w.date_time", subject_id)
    waters = call.db.all(f"{_WATERS} WHERE w.subject = ? ORDER BY w.date_time", subject_id)
    return {
        "weighings": [show_weighing(call, weighing) for weighing in weighings],
        "water_administrations": [show_water(call, water) for water in waters],
    }


def require_water_control(call: Call, subject_id: str) -> None:
    """Fail as the real server does for an animal that has a weighing without a time: it cannot be computed about.

    Raises
    ------
    FailedError
        Without a word.
    """
    if call.db.one("SELECT 1 FROM weighing WHERE subject = ? AND date_time IS NULL", subject_id):
        raise FailedError("")


_USER = reference("user", named("user", "username"))


def show_weighing(call: Call, row: Row) -> dict[str, object]:
    """Return a weighing; the row has its subject's nickname."""
    return {
        "subject": row["nickname"],
        "date_time": row["date_time"],
        "weight": row["weight"],
        "user": row["user"],
        "url": call.url("weighings", row["id"]),
    }


def show_water(call: Call, row: Row) -> dict[str, object]:
    """Return a water administration; the row has its subject's nickname."""
    return {
        "subject": row["nickname"],
        "date_time": row["date_time"],
        "water_administered": row["water_administered"],
        "water_type": row["water_type"],
        "user": row["user"],
        "url": call.url("water-administrations", row["id"]),
        "session": row["session"],
        "adlib": bool(row["adlib"]),
    }


_SUBJECT_FILTERS: dict[str, Column] = {
    "id": Column("w.id", "uuid"),
    "subject__nickname": Column("s.nickname"),
    "subject__lab__name": Column("s.lab"),
    "subject": Column("w.subject", "uuid"),
    "date_time": Column("w.date_time", "time"),
    "user": Column("(SELECT id FROM user WHERE username = w.user)", "uuid"),
    "user__username": Column("w.user"),
}
_BY_SUBJECT = {
    "subject": Parameter("subject__nickname__iexact"),
    "nickname": Parameter("subject__nickname__iexact"),
    "date_time": Parameter("date_time", "time"),
    "user": Parameter("user", "user"),
}

WEIGHINGS = Listing(
    "weighing w JOIN subject s ON s.id = w.subject",
    {**_SUBJECT_FILTERS, "weight": Column("w.weight", "int")},
    show_weighing,
    _BY_SUBJECT,
    "w.rowid",
    "w.*, s.nickname",
)
WATERS = Listing(
    "water_administration w JOIN subject s ON s.id = w.subject",
    {
        **_SUBJECT_FILTERS,
        "session": Column("w.session", "uuid"),
        "session__id": Column("w.session", "uuid"),
        "water_type__name": Column("w.water_type"),
        "adlib": Column("w.adlib", "bool"),
    },
    show_water,
    {**_BY_SUBJECT, "session": Parameter("session", "session")},
    "w.rowid",
    "w.*, s.nickname",
)

_WEIGHING_FIELDS = (
    reference("subject", subject, required=True),
    Field("date_time", moment, null=True),
    Field("weight", amount, required=True, kind="number"),
    _USER,
)
_WATER_FIELDS = (
    reference("subject", subject, required=True),
    Field("date_time", moment, null=True),
    Field("water_administered", amount, null=True, kind="number"),
    reference("water_type", named("water_type")),
    _USER,
    reference("session", row_id("session")),
    Field("adlib", boolean, kind="boolean"),
)


def _weigh(call: Call) -> Response:
    values = check(_WEIGHING_FIELDS, call.db, call.data)
    row = {"id": new_id(), "date_time": call.now, "user": call.username, **values}
    call.db.insert("weighing", cast("dict[str, Value]", row))
    require_water_control(call, str(row["subject"]))  # the weighing is there all the same
    created = call.db.all(f"{_WEIGHINGS} WHERE w.id = ?", str(row["id"]))[0]
    return json_response(201, show_weighing(call, created))


def _water(call: Call) -> Response:
    values = check(_WATER_FIELDS, call.db, call.data)
    row = {"id": new_id(), "date_time": call.now, "user": call.username, "water_type": "Water", **values}
    death = call.db.one("SELECT death_date FROM subject WHERE id = ?", str(row["subject"]))
    if death is not None and death[0] and str(row["date_time"])[:10] > death[0]:
        raise FailedError("Water administration date after death date")
    call.db.insert("water_administration", cast("dict[str, Value]", row))
    created = call.db.all(f"{_WATERS} WHERE w.id = ?", str(row["id"]))[0]
    return json_response(201, show_water(call, created))


def _read_weighing(call: Call) -> Response:
    return json_response(200, show_weighing(call, _row(call, _WEIGHINGS, "Weighing")))


def _read_water(call: Call) -> Response:
    return json_response(200, show_water(call, _row(call, _WATERS, "WaterAdministration")))


def _change_water(call: Call) -> Response:
    _row(call, _WATERS, "WaterAdministration")
    values = check(_WATER_FIELDS, call.db, call.data, partial=call.request.method == "PATCH")
    call.db.update("water_administration", ("id", call.key), cast("dict[str, Value]", values))
    return _read_water(call)


def _delete_weighing(call: Call) -> Response:
    _row(call, _WEIGHINGS, "Weighing")
    call.db.run("DELETE FROM weighing WHERE id = ?", call.key)
    return Response(204)


def _delete_water(call: Call) -> Response:
    _row(call, _WATERS, "WaterAdministration")
    call.db.run("DELETE FROM water_administration WHERE id = ?", call.key)
    return Response(204)


def _row(call: Call, query: str, model: str) -> Row:
    row = call.db.one(f"{query} WHERE w.id = ?", call.key)
    if row is None:
        raise missing(model)
    return row


ROUTES = (
    Route(
        "/weighings",
        {"GET": WEIGHINGS.answer, "POST": _weigh},
        parameters=WEIGHINGS.parameter_names,
        fields=_WEIGHING_FIELDS,
    ),
    Route("/weighings/{id}", {"GET": _read_weighing, "DELETE": _delete_weighing}),
    Route(
        "/water-administrations",
        {"GET": WATERS.answer, "POST": _water},
        parameters=WATERS.parameter_names,
        fields=_WATER_FIELDS,
    ),
    Route(
        "/water-administrations/{id}",
        {"GET": _read_water, "PUT": _change_water, "PATCH": _change_water, "DELETE": _delete_water},
        fields=_WATER_FIELDS,
    ),
)
