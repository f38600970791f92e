"""Probe insertions, and the datasets that belong to them.

Room: sandbox. A dataset in `…/probe00` belongs to the insertion of that name.
"""

from __future__ import annotations

import sqlite3
from typing import cast

from labferry.sandbox.alyx.answers import invalid, missing
from labferry.sandbox.alyx.api import Call, Route
from labferry.sandbox.alyx.datasets import ONLINE, show_online
from labferry.sandbox.alyx.fields import ComplaintError, Field, anything, check, reference, row_id, text
from labferry.sandbox.alyx.queries import Column, Listing, Parameter
from labferry.sandbox.alyx.store import Database, Row, Value, from_json, new_id, to_json
from labferry.sandbox.http import Response, json_response

_MODELS = ("3A", "3B1", "3B2", "NP2.1", "NP2.4")


def _model(_: Database, value: object) -> object:
    if value not in _MODELS:
        raise ComplaintError(f"Object with probe_model={value} does not exist.")
    return value


_FIELDS = (
    reference("session", row_id("session")),
    Field("name", text(255)),
    reference("model", _model),
    Field("serial", text(255)),
    Field("json", anything, null=True, kind="object"),
)
_NOT_UNIQUE = "The fields name, session must make a unique set."


def of_session(call: Call, session: str) -> list[dict[str, object]]:
    """Return a session's insertions as the session shows them."""
    rows = call.db.all("SELECT * FROM insertion WHERE session = ? ORDER BY name", session)
    return [_show(call, row) for row in rows]


def _show_one(call: Call, row: Row) -> dict[str, object]:
    """Return one with its datasets that are online, in full; lists and new ones have the ids of all."""
    query = f"SELECT x.* FROM dataset x JOIN insertion_dataset i ON i.dataset = x.id WHERE i.insertion = ? AND {ONLINE}"
    online = [show_online(call, dataset) for dataset in call.db.all(query, row["id"])]
    return {**_show(call, row), "datasets": online}


def _show(call: Call, row: Row) -> dict[str, object]:
    datasets = "SELECT dataset FROM insertion_dataset WHERE insertion = ?"
    return {
        "id": row["id"],
        "session": row["session"],
        "model": row["model"],
        "session_info": _session_info(call.db, row["session"]),
        "name": row["name"],
        "json": from_json(row["json"]),
        "serial": row["serial"],
        "auto_datetime": row["auto_datetime"],
        "chronic_insertion": None,
        "datasets": call.db.column(datasets, row["id"]),
    }


def _session_info(db: Database, session: str | None) -> dict[str, object] | None:
    query = "SELECT s.*, u.nickname FROM session s JOIN subject u ON u.id = s.subject WHERE s.id = ?"
    row = db.one(query, session)
    if row is None:
        return None
    projects = "SELECT project FROM session_project WHERE session = ? ORDER BY project"
    return {
        "subject": row["nickname"],
        "start_time": row["start_time"],
        "number": row["number"],
        "lab": row["lab"],
        "id": row["id"],
        "projects": db.column(projects, session),
        "task_protocol": row["task_protocol"],
    }


def _row(call: Call, key: str) -> Row:
    row = call.db.one("SELECT * FROM insertion WHERE id = ?", key)
    if row is None:
        raise missing("ProbeInsertion")
    return row


def _read(call: Call) -> Response:
    return json_response(200, _show_one(call, _row(call, call.key)))


def _create(call: Call) -> Response:
    key = new_id()
    values = {"id": key, **_columns(call)}
    try:
        call.db.insert("insertion", values)
    except sqlite3.IntegrityError as error:
        raise invalid({"non_field_errors": [_NOT_UNIQUE]}) from error
    call.db.run(
        "INSERT INTO insertion_dataset (insertion, dataset) SELECT ?, id FROM dataset "
        "WHERE session IS ? AND collection || '/' LIKE '%/' || ? || '/%'",
        key,
        values.get("session"),
        values.get("name"),
    )
    return json_response(201, _show(call, _row(call, key)))


def _change(call: Call) -> Response:
    _row(call, call.key)
    try:
        call.db.update("insertion", ("id", call.key), _columns(call))
    except sqlite3.IntegrityError as error:
        raise invalid({"non_field_errors": [_NOT_UNIQUE]}) from error
    return _read(call)


def _columns(call: Call) -> dict[str, Value]:
    values = check(_FIELDS, call.db, call.data, partial=call.request.method == "PATCH")
    if "json" in values:
        values["json"] = to_json(values["json"])
    return cast("dict[str, Value]", {**values, "auto_datetime": call.now})


def _delete(call: Call) -> Response:
    _row(call, call.key)
    call.db.run("DELETE FROM insertion WHERE id = ?", call.key)
    return Response(204)


LISTING = Listing(
    "insertion i JOIN session s ON s.id = i.session JOIN subject u ON u.id = s.subject",
    {
        "id": Column("i.id", "uuid"),
        "name": Column("i.name"),
        "model__name": Column("i.model"),
        "serial": Column("i.serial"),
        "json": Column("i.json", "json"),
        "session": Column("i.session", "uuid"),
        "session__id": Column("i.session", "uuid"),
        "session__subject__nickname": Column("u.nickname"),
        "session__start_time": Column("s.start_time", "time"),
        "session__number": Column("s.number", "int"),
        "session__lab__name": Column("s.lab"),
        "session__task_protocol": Column("s.task_protocol"),
    },
    _show,
    {
        "session": Parameter("session", "uuid"),
        "name": Parameter("name"),
        "subject": Parameter("session__subject__nickname"),
        "date": Parameter("session__start_time__date"),
        "experiment_number": Parameter("session__number", "number"),
        "model": Parameter("model__name"),
        "lab": Parameter("session__lab__name__iexact"),
        "task_protocol": Parameter("session__task_protocol__icontains"),
    },
    "s.start_time DESC, i.name",
    "i.*",
)

ROUTES = (
    Route(
        "/insertions",
        {"GET": LISTING.answer, "POST": _create},
        parameters=LISTING.parameter_names,
        fields=_FIELDS,
    ),
    Route(
        "/insertions/{id}",
        {"GET": _read, "PUT": _change, "PATCH": _change, "DELETE": _delete},
        fields=_FIELDS,
    ),
)
