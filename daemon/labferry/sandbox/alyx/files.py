"""File records: that a dataset is, or is not, in a data repository.

Room: sandbox. `PATCH {"exists": true}` is what puts a dataset online; a record is unique by repository and
path.
"""

from __future__ import annotations

import sqlite3
from typing import cast

from labferry.sandbox.alyx.answers import invalid, missing
from labferry.sandbox.alyx.api import Call, Route
from labferry.sandbox.alyx.fields import ComplaintError, Field, anything, boolean, check, link, named, reference, text
from labferry.sandbox.alyx.paths import GOOD_PATH
from labferry.sandbox.alyx.queries import Column, Listing, Parameter
from labferry.sandbox.alyx.store import Database, Row, Value, from_json, new_id, to_json
from labferry.sandbox.http import Response, json_response


def _path(db: Database, value: object) -> object:
    path = str(text(1000, blank=False)(db, value))
    if not GOOD_PATH.fullmatch(path):
        raise ComplaintError("Invalid path")
    return path


_FIELDS = (
    reference("dataset", link("dataset", "datasets"), required=True),
    reference("data_repository", named("repository"), required=True),
    Field("name", text(255)),
    Field("json", anything, null=True, kind="object"),
    Field("relative_path", _path, required=True),
    Field("exists", boolean, kind="boolean"),
)
_NOT_UNIQUE = "The fields data_repository, relative_path must make a unique set."


def _show(call: Call, row: Row) -> dict[str, object]:
    return {
        "url": call.url("files", row["id"]),
        "dataset": call.url("datasets", row["dataset"]),
        "data_repository": row["data_repository"],
        "name": row["name"],
        "json": from_json(row["json"]),
        "relative_path": row["relative_path"],
        "exists": bool(row["exists"]),
    }


def _row(call: Call) -> Row:
    row = call.db.one("SELECT * FROM file_record WHERE id = ?", call.key)
    if row is None:
        raise missing("FileRecord")
    return row


def _read(call: Call) -> Response:
    return json_response(200, _show(call, _row(call)))


def _create(call: Call) -> Response:
    values = _columns(call)
    call.key = new_id()
    try:
        call.db.insert("file_record", {"id": call.key, **values})
    except sqlite3.IntegrityError as error:
        raise invalid({"non_field_errors": [_NOT_UNIQUE]}) from error
    return json_response(201, _show(call, _saved(call)))


def _change(call: Call) -> Response:
    _row(call)
    try:
        call.db.update("file_record", ("id", call.key), _columns(call))
    except sqlite3.IntegrityError as error:
        raise invalid({"non_field_errors": [_NOT_UNIQUE]}) from error
    return json_response(200, _show(call, _saved(call)))


def _columns(call: Call) -> dict[str, Value]:
    values = check(_FIELDS, call.db, call.data, partial=call.request.method == "PATCH")
    if "json" in values:
        values["json"] = to_json(values["json"])
    return cast("dict[str, Value]", values)


def _saved(call: Call) -> Row:
    """Return the record; saving it also saves its dataset."""
    row = _row(call)
    call.db.update("dataset", ("id", row["dataset"]), {"auto_datetime": call.now})
    return row


def _delete(call: Call) -> Response:
    _row(call)
    call.db.run("DELETE FROM file_record WHERE id = ?", call.key)
    return Response(204)


LISTING = Listing(
    "file_record f JOIN dataset d ON d.id = f.dataset JOIN repository r ON r.name = f.data_repository "
    "LEFT JOIN session s ON s.id = d.session",
    {
        "id": Column("f.id", "uuid"),
        "exists": Column('f."exists"', "bool"),
        "relative_path": Column("f.relative_path"),
        "json": Column("f.json", "json"),
        "data_repository": Column("r.id", "uuid"),
        "data_repository__name": Column("f.data_repository"),
        "data_repository__globus_is_personal": Column("r.globus_is_personal", "bool"),
        "data_repository__globus_endpoint_id": Column("r.globus_endpoint_id", "uuid"),
        "dataset": Column("f.dataset", "uuid"),
        "dataset__id": Column("f.dataset", "uuid"),
        "dataset__name": Column("d.name"),
        "dataset__collection": Column("d.collection"),
        "dataset__session": Column("d.session", "uuid"),
        "dataset__session__id": Column("d.session", "uuid"),
        "dataset__session__lab__name": Column("s.lab"),
    },
    _show,
    {
        "dataset": Parameter("dataset", "dataset"),
        "exists": Parameter("exists", "bool"),
        "relative_path": Parameter("relative_path"),
        "lab": Parameter("dataset__session__lab__name"),
        "data_repository": Parameter("data_repository__name"),
        "globus_is_personal": Parameter("data_repository__globus_is_personal", "bool"),
    },
    "f.rowid",
    "f.*",
)

ROUTES = (
    Route(
        "/files",
        {"GET": LISTING.answer, "POST": _create},
        parameters=LISTING.parameter_names,
        fields=_FIELDS,
    ),
    Route(
        "/files/{id}",
        {"GET": _read, "PUT": _change, "PATCH": _change, "DELETE": _delete},
        fields=_FIELDS,
    ),
)
