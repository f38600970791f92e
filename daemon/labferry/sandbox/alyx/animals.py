"""Subjects, their weighings and water administrations.

Room: sandbox. Neither weighings nor water administrations are unique: the same POST twice is two of them.
"""

from __future__ import annotations

from datetime import date
from typing import cast

from labferry.sandbox.alyx.answers import missing, several
from labferry.sandbox.alyx.api import Call, Route
from labferry.sandbox.alyx.fields import Field, boolean, check, moment, named, number, row_id
from labferry.sandbox.alyx.fields import subject as subject_field
from labferry.sandbox.alyx.queries import Column, Condition, Listing, Parameter
from labferry.sandbox.alyx.store import Row, Value, from_json, new_id
from labferry.sandbox.http import Response, json_response


def show_subject(call: Call, row: Row) -> dict[str, object]:
    """Return a subject as lists show it."""
    session_projects = (
        "SELECT DISTINCT project FROM session_project JOIN session ON session.id = session "
        "WHERE subject = ? ORDER BY project"
    )
    projects = "SELECT project FROM subject_project WHERE subject = ? ORDER BY project"
    return {
        "nickname": row["nickname"],
        "url": call.url("subjects", row["nickname"]),
        "id": row["id"],
        "responsible_user": row["responsible_user"],
        "birth_date": row["birth_date"],
        "age_weeks": _age_weeks(row, call.now),
        "death_date": row["death_date"],
        "species": row["species"],
        "sex": row["sex"],
        "litter": None,
        "strain": None,
        "source": None,
        "line": None,
        "projects": call.db.column(projects, row["id"]),
        "session_projects": call.db.column(session_projects, row["id"]),
        "lab": row["lab"],
        "genotype": [],
        "description": row["description"],
        "alive": row["death_date"] is None,
        "reference_weight": 0.0,
        "last_water_restriction": None,
        "expected_water": 0.0,
        "remaining_water": 0.0,
        "json": from_json(row["json"]),
    }


def _age_weeks(row: Row, now: str) -> int:
    if row["birth_date"] is None:
        return 0
    end = date.fromisoformat(row["death_date"] or now[:10])
    return (end - date.fromisoformat(row["birth_date"])).days // 7


def _read_subject(call: Call) -> Response:
    rows = call.db.all("SELECT * FROM subject WHERE nickname = ?", call.key)
    if not rows:
        raise missing("Subject")
    if len(rows) > 1:
        raise several("Subject", len(rows))
    body = show_subject(call, rows[0])
    body["weighings"] = [
        _show_weighing(call, row)
        for row in call.db.all(f"{_WEIGHINGS} WHERE w.subject = ? ORDER BY w.date_time", rows[0]["id"])
    ]
    body["water_administrations"] = [
        _show_water(call, row)
        for row in call.db.all(f"{_WATERS} WHERE w.subject = ? ORDER BY w.date_time", rows[0]["id"])
    ]
    return json_response(200, body)


def _alive(_: Call, text: str) -> Condition:
    return Condition(f"death_date IS {'NULL' if text.lower() == 'true' else 'NOT NULL'}")


SUBJECTS = Listing(
    "subject",
    {
        **{
            name: Column(name)
            for name in ("id", "nickname", "lab", "birth_date", "death_date", "sex", "description")
        },
        "lab__name": Column("lab"),
        "responsible_user__username": Column("responsible_user"),
        "projects__name": Column(
            "project", through="SELECT 1 FROM subject_project x WHERE x.subject = subject.id AND {}"
        ),
        "json": Column("json", "json"),
    },
    show_subject,
    {
        "nickname": Parameter("nickname"),
        "lab": Parameter("lab"),
        "responsible_user": Parameter("responsible_user__username"),
        "project": Parameter("projects__name"),
        "alive": _alive,
    },
    "nickname, lab",
)


# --- weighings and water ----------------------------------------------------------------------------------

_WEIGHINGS = "SELECT w.*, s.nickname FROM weighing w JOIN subject s ON s.id = w.subject"
_WATERS = "SELECT w.*, s.nickname FROM water_administration w JOIN subject s ON s.id = w.subject"
_USER = Field("user", named("user", "username"))


def _show_weighing(call: Call, row: Row) -> dict[str, object]:
    return {
        "subject": row["nickname"],
        "date_time": row["date_time"],
        "weight": row["weight"],
        "user": row["user"],
        "url": call.url("weighings", row["id"]),
    }


def _show_water(call: Call, row: Row) -> dict[str, object]:
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
    "user__username": Column("w.user"),
}
_BY_SUBJECT = {
    "subject": Parameter("subject__nickname__iexact"),
    "nickname": Parameter("subject__nickname__iexact"),
    "date_time": Parameter("date_time", "time"),
    "user": Parameter("user__username"),
}

WEIGHINGS = Listing(
    "weighing w JOIN subject s ON s.id = w.subject",
    {**_SUBJECT_FILTERS, "weight": Column("w.weight", "int")},
    _show_weighing,
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
    _show_water,
    {**_BY_SUBJECT, "session": Parameter("session", "session")},
    "w.rowid",
    "w.*, s.nickname",
)

_WEIGHING_FIELDS = (
    Field("subject", subject_field, required=True),
    Field("date_time", moment, null=True),
    Field("weight", number, required=True, kind="number"),
    _USER,
)
_WATER_FIELDS = (
    Field("subject", subject_field, required=True),
    Field("date_time", moment),
    Field("water_administered", number, null=True, kind="number"),
    Field("water_type", named("water_type")),
    _USER,
    Field("session", row_id("session")),
    Field("adlib", boolean, kind="boolean"),
)


def _weigh(call: Call) -> Response:
    values = check(_WEIGHING_FIELDS, call.db, call.data)
    row = {"id": new_id(), "date_time": call.now, "user": call.username, **values}
    call.db.insert("weighing", cast("dict[str, Value]", row))
    created = call.db.all(f"{_WEIGHINGS} WHERE w.id = ?", str(row["id"]))[0]
    return json_response(201, _show_weighing(call, created))


def _water(call: Call) -> Response:
    values = check(_WATER_FIELDS, call.db, call.data)
    row = {"id": new_id(), "date_time": call.now, "user": call.username, **values}
    call.db.insert("water_administration", cast("dict[str, Value]", row))
    created = call.db.all(f"{_WATERS} WHERE w.id = ?", str(row["id"]))[0]
    return json_response(201, _show_water(call, created))


def _read_weighing(call: Call) -> Response:
    return json_response(200, _show_weighing(call, _row(call, _WEIGHINGS, "Weighing")))


def _read_water(call: Call) -> Response:
    return json_response(200, _show_water(call, _row(call, _WATERS, "WaterAdministration")))


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
    Route("/subjects", {"GET": SUBJECTS.answer}, parameters=SUBJECTS.parameter_names),
    Route("/subjects/{name}", {"GET": _read_subject}),
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
