"""Subjects: the animals of the labs.

Room: sandbox. A nickname is unique within a lab, and among the subjects of one responsible user; one that two labs
use all the same cannot be looked up by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import cast

from labferry.sandbox.alyx import weights
from labferry.sandbox.alyx.answers import invalid, missing, several
from labferry.sandbox.alyx.api import Call, Route
from labferry.sandbox.alyx.fields import (
    Field,
    anything,
    check,
    day,
    many,
    named,
    reference,
    text,
)
from labferry.sandbox.alyx.queries import Column, Condition, Listing, Parameter
from labferry.sandbox.alyx.store import Row, Value, from_json, new_id, to_json
from labferry.sandbox.http import Response, json_response


def _show(call: Call, row: Row) -> dict[str, object]:
    weights.require_water_control(call, row["id"])
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


def _read(call: Call) -> Response:
    return json_response(200, _in_full(call, _row(call)))


def _row(call: Call) -> Row:
    rows = call.db.all("SELECT * FROM subject WHERE nickname = ?", call.key)
    if not rows:
        raise missing("Subject")
    if len(rows) > 1:
        raise several("Subject", len(rows))
    return rows[0]


def _in_full(call: Call, row: Row) -> dict[str, object]:
    return {**_show(call, row), **weights.of_subject(call, row["id"])}


_FIELDS = (
    Field("nickname", text(64, blank=False), required=True),
    reference("responsible_user", named("user", "username")),
    Field("birth_date", day, null=True),
    Field("death_date", day, null=True),
    Field("species", text(255), null=True),
    Field("sex", text(1)),
    Field("projects", many("project"), kind="array"),
    reference("lab", named("lab"), required=True),
    Field("description", text()),
    Field("json", anything, null=True, kind="object"),
)


def _create(call: Call) -> Response:
    values = check(_FIELDS, call.db, call.data)
    key = new_id()
    row = {"id": key, "responsible_user": call.username, "species": "Laboratory mouse", **_columns(values)}
    _require_unique(call, key, row)
    call.db.insert("subject", row)
    return json_response(201, _show(call, _written(call, key, values)))


def _change(call: Call) -> Response:
    row = _row(call)
    key = row["id"]
    values = check(_FIELDS, call.db, call.data, partial=call.request.method == "PATCH")
    _require_unique(call, key, {**row, **_columns(values)})
    call.db.update("subject", ("id", key), _columns(values))
    return json_response(200, _in_full(call, _written(call, key, values)))


def _require_unique(call: Call, key: str, row: Mapping[str, Value]) -> None:
    """Refuse a subject whose nickname another one has, in its lab or under its responsible user."""
    taken = []
    for other in ("lab", "responsible_user"):
        query = f"SELECT 1 FROM subject WHERE nickname = ? AND {other} = ? AND id <> ?"
        if call.db.one(query, row["nickname"], row[other], key):
            taken.append(f"The fields nickname, {other} must make a unique set.")
    if taken:
        raise invalid({"non_field_errors": taken})


def _delete(call: Call) -> Response:
    call.db.run("DELETE FROM subject WHERE id = ?", _row(call)["id"])
    return Response(204)


def _columns(values: dict[str, object]) -> dict[str, Value]:
    columns = {name: value for name, value in values.items() if name != "projects"}
    if "json" in columns:
        columns["json"] = to_json(columns["json"])
    return cast("dict[str, Value]", columns)


def _written(call: Call, key: str, values: dict[str, object]) -> Row:
    if "projects" in values:
        projects = cast("list[str]", values["projects"])
        call.db.replace_links("subject_project", ("subject", key), "project", projects)
    return call.db.all("SELECT * FROM subject WHERE id = ?", key)[0]


def _alive(_: Call, spelled: str) -> Condition:
    return Condition(f"death_date IS {'NULL' if spelled.lower() == 'true' else 'NOT NULL'}")


LISTING = Listing(
    "subject",
    {
        **{name: Column(name) for name in ("id", "nickname", "lab", "birth_date", "death_date", "sex", "description")},
        "lab__name": Column("lab"),
        "responsible_user__username": Column("responsible_user"),
        "projects__name": Column(
            "project", through="SELECT 1 FROM subject_project x WHERE x.subject = subject.id AND {}"
        ),
        "json": Column("json", "json"),
    },
    _show,
    {
        "nickname": Parameter("nickname"),
        "lab": Parameter("lab"),
        "responsible_user": Parameter("responsible_user__username"),
        "project": Parameter("projects__name"),
        "alive": _alive,
    },
    "nickname, lab",
)


ROUTES = (
    Route(
        "/subjects",
        {"GET": LISTING.answer, "POST": _create},
        parameters=LISTING.parameter_names,
        fields=_FIELDS,
    ),
    Route(
        "/subjects/{name}",
        {"GET": _read, "PUT": _change, "PATCH": _change, "DELETE": _delete},
        fields=_FIELDS,
    ),
)
