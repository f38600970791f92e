"""Tasks: what a processing pipeline still has to do for a session.

Room: sandbox. They are deleted with their session. One without a status can neither be shown nor listed.
"""

from __future__ import annotations

import sqlite3
from typing import cast

from labferry.sandbox.alyx.answers import FailedError, invalid, missing
from labferry.sandbox.alyx.api import Call, Route
from labferry.sandbox.alyx.fields import ComplaintError, Field, anything, check, integer, reference, row_id, text
from labferry.sandbox.alyx.queries import Column, Listing, Parameter
from labferry.sandbox.alyx.store import Database, Row, Value, from_json, new_id, to_json
from labferry.sandbox.http import Response, json_response

_STATES = ("Waiting", "Held", "Started", "Errored", "Abandoned", "Empty", "Incomplete", "Complete")


def _status(_: Database, value: object) -> object:
    if value not in _STATES:
        raise ComplaintError(f"Invalid status, choices are: {', '.join(_STATES)}")
    return value


_FIELDS = (
    reference("session", row_id("session"), required=True, null=True),
    Field("name", text(64), null=True),
    Field("status", _status),
    Field("executable", text(128), null=True),
    Field("graph", text(64), null=True),
    Field("priority", integer(16), null=True, kind="integer"),
    Field("level", integer(16), null=True, kind="integer"),
    Field("log", text(), null=True),
    Field("version", text(64), null=True),
    Field("arguments", anything, null=True, kind="object"),
)
_NEVER_GIVEN = ("data_repository", "io_charge", "gpu", "cpu", "ram", "time_out_secs", "time_elapsed_secs")


def _show(_: Call, row: Row) -> dict[str, object]:
    if row["status"] is None:  # the real one's default is none of the states
        raise FailedError("list index out of range")
    shown = {field.name: row[field.name] for field in _FIELDS}
    return {
        **shown,
        **dict.fromkeys(_NEVER_GIVEN),
        "id": row["id"],
        "parents": [],
        "datetime": row["datetime"],
        "arguments": from_json(row["arguments"]),
    }


def _row(call: Call, key: str) -> Row:
    row = call.db.one("SELECT * FROM task WHERE id = ?", key)
    if row is None:
        raise missing("Task")
    return row


def _read(call: Call) -> Response:
    return json_response(200, _show(call, _row(call, call.key)))


def _create(call: Call) -> Response:
    row = {"id": new_id(), "datetime": call.now, **_columns(call)}
    try:
        call.db.insert("task", row)
    except sqlite3.IntegrityError as error:
        message = "The fields name, session, arguments must make a unique set."
        raise invalid({"non_field_errors": [message]}) from error
    return json_response(201, _show(call, _row(call, str(row["id"]))))


def _change(call: Call) -> Response:
    _row(call, call.key)
    call.db.update("task", ("id", call.key), {**_columns(call), "datetime": call.now})
    return _read(call)


def _columns(call: Call) -> dict[str, Value]:
    values = check(_FIELDS, call.db, call.data, partial=call.request.method == "PATCH")
    if "arguments" in values:
        values["arguments"] = to_json(values["arguments"])
    return cast("dict[str, Value]", values)


def _delete(call: Call) -> Response:
    _row(call, call.key)
    call.db.run("DELETE FROM task WHERE id = ?", call.key)
    return Response(204)


LISTING = Listing(
    "task",
    {
        "id": Column("id", "uuid"),
        "session": Column("session", "uuid"),
        "name": Column("name"),
        "status": Column("status"),
        "graph": Column("graph"),
    },
    _show,
    {
        "session": Parameter("session", "session"),
        "name": Parameter("name"),
        "status": Parameter("status"),
        "graph": Parameter("graph"),
    },
    "level, priority DESC, rowid",
)

ROUTES = (
    Route("/tasks", {"GET": LISTING.answer, "POST": _create}, parameters=LISTING.parameter_names, fields=_FIELDS),
    Route("/tasks/{id}", {"GET": _read, "PUT": _change, "PATCH": _change, "DELETE": _delete}, fields=_FIELDS),
)
