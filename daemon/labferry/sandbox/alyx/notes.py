"""Notes about any record.

Room: sandbox. The same note twice is two notes; lists can be filtered by `django=` only; a PATCH without
content type fails although it would not change it.
"""

from __future__ import annotations

from typing import cast

from labferry.sandbox.alyx.answers import FailedError, missing
from labferry.sandbox.alyx.api import Call, Route
from labferry.sandbox.alyx.contents import ContentType, content_type
from labferry.sandbox.alyx.fields import Field, anything, check, identifier, moment, named, reference, text
from labferry.sandbox.alyx.queries import Column, Listing
from labferry.sandbox.alyx.store import Row, Value, from_json, new_id, to_json
from labferry.sandbox.http import Response, json_response

_FIELDS = (
    reference("user", named("user", "username"), required=True),
    Field("date_time", moment),
    Field("content_type", lambda _, value: content_type(str(value)), required=True),
    Field("object_id", identifier, required=True),
    Field("text", text()),
    Field("json", anything, null=True, kind="object"),
)


def of_object(call: Call, key: str) -> list[dict[str, object]]:
    """Return the notes about a record."""
    return [_show(call, row) for row in call.db.all("SELECT * FROM note WHERE object_id = ?", key)]


def _show(_: Call, row: Row) -> dict[str, object]:
    return {
        "id": row["id"],
        "user": row["user"],
        "date_time": row["date_time"],
        "content_type": row["content_type"],
        "object_id": row["object_id"],
        "text": row["text"],
        "image": None,
        "json": from_json(row["json"]),
    }


def _row(call: Call, key: str) -> Row:
    row = call.db.one("SELECT * FROM note WHERE id = ?", key)
    if row is None:
        raise missing("Note")
    return row


def _read(call: Call) -> Response:
    return json_response(200, _show(call, _row(call, call.key)))


def _create(call: Call) -> Response:
    row = {"id": new_id(), "date_time": call.now, **_columns(call)}
    call.db.insert("note", row)
    return json_response(201, _show(call, _row(call, str(row["id"]))))


def _change(call: Call) -> Response:
    _row(call, call.key)
    call.db.update("note", ("id", call.key), _columns(call))
    return _read(call)


def _columns(call: Call) -> dict[str, Value]:
    values = check(_FIELDS, call.db, call.data, partial=call.request.method == "PATCH")
    for name in ("content_type", "object_id"):
        if name not in values:
            raise FailedError(f"'{name}'")
    model = cast("ContentType", values["content_type"])
    if not model.exists(call.db, str(values["object_id"])):
        raise FailedError(f"{model.label} matching query does not exist.")
    values["content_type"] = model.name
    if "json" in values:
        values["json"] = to_json(values["json"])
    return cast("dict[str, Value]", values)


def _delete(call: Call) -> Response:
    _row(call, call.key)
    call.db.run("DELETE FROM note WHERE id = ?", call.key)
    return Response(204)


LISTING = Listing(
    "note",
    {
        "id": Column("id", "uuid"),
        "user__username": Column("user"),
        "object_id": Column("object_id", "uuid"),
        "text": Column("text"),
        "date_time": Column("date_time", "time"),
        "content_type__model": Column("substr(content_type, instr(content_type, '.') + 1)"),
        "json": Column("json", "json"),
    },
    _show,
)

ROUTES = (
    Route("/notes", {"GET": LISTING.answer, "POST": _create}, parameters=LISTING.parameter_names, fields=_FIELDS),
    Route(
        "/notes/{id}",
        {"GET": _read, "PUT": _change, "PATCH": _change, "DELETE": _delete},
        fields=_FIELDS,
    ),
)
