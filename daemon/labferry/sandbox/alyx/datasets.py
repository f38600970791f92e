"""Datasets as clients see them: the list, one, what is online, what is protected.

Room: sandbox.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import cast

from labferry.sandbox.alyx.answers import FailedError, by_hand, missing
from labferry.sandbox.alyx.api import Call, Route
from labferry.sandbox.alyx.fields import (
    QC_NAMES,
    Field,
    anything,
    boolean,
    check,
    integer,
    link,
    many,
    named,
    quality,
    read_quality,
    reference,
    text,
)
from labferry.sandbox.alyx.paths import GOOD_COLLECTION
from labferry.sandbox.alyx.queries import Column, Condition, Custom, Listing, Parameter
from labferry.sandbox.alyx.store import Database, Row, Value, from_json, new_id, to_json
from labferry.sandbox.http import Response, json_response

ONLINE = (
    "EXISTS (SELECT 1 FROM file_record f JOIN repository r ON r.name = f.data_repository "
    'WHERE f.dataset = x.id AND f."exists" AND NOT r.globus_is_personal)'
)
"""SQL: dataset `x` exists in a server repository, which is when clients list it."""

_MAX_LABEL = 64
_BAD_COLLECTION = "Collections must only contain letters, numbers, hyphens, underscores and forward slashes."
_RECORDS = (
    'SELECT f.id, f.data_repository, f.relative_path, f."exists", r.globus_path, r.data_url, '
    "r.globus_is_personal FROM file_record f JOIN repository r ON r.name = f.data_repository "
    "WHERE f.dataset = ?"
)


def is_protected(db: Database, dataset: str) -> bool:
    """Whether a tag protects a dataset."""
    query = "SELECT 1 FROM dataset_tag JOIN tag ON tag.name = tag WHERE dataset = ? AND protected"
    return db.one(query, dataset) is not None


def data_url(root: str | None, relative_path: str, dataset: str) -> str | None:
    """Return where a copy is downloaded: the dataset's id stands before the suffix."""
    if not root:
        return None
    path = PurePosixPath(relative_path)
    return root + path.with_name(f"{path.stem}.{dataset}{path.suffix}").as_posix()


def link_dataset(db: Database, dataset: str, session: str | None, collection: str) -> None:
    """Link a dataset to the insertion that its collection's second folder names, if there is one."""
    folders = collection.split("/")
    if len(folders) > 1:
        db.run(
            "INSERT OR IGNORE INTO insertion_dataset (insertion, dataset) "
            "SELECT id, ? FROM insertion WHERE session IS ? AND name = ?",
            dataset,
            session,
            folders[1],
        )


def online_datasets(call: Call, session: str) -> list[dict[str, object]]:
    """Return a session's datasets that exist in a server repository, as the session shows them."""
    rows = call.db.all(f"SELECT x.* FROM dataset x WHERE x.session = ? AND {ONLINE}", session)
    return [
        {**show_online(call, row), "revision": row["revision"] or "", "default_revision": _spelled(row)} for row in rows
    ]


def _spelled(row: Row) -> str:
    return "True" if row["default_dataset"] else "False"


def show_online(call: Call, row: Row) -> dict[str, object]:
    """Return a dataset as sessions and insertions show it, with the one address to download it from."""
    found = [record for record in call.db.all(_RECORDS, row["id"]) if record["data_url"] and record["exists"]]
    found.sort(key=lambda record: (record["globus_is_personal"], record["data_repository"]))
    best = found[0] if found else None
    return {
        "id": row["id"],
        "name": row["name"],
        "dataset_type": row["dataset_type"],
        "data_url": data_url(best["data_url"], best["relative_path"], row["id"]) if best else None,
        "url": call.url("datasets", row["id"]),
        "file_size": row["file_size"],
        "hash": row["hash"],
        "version": row["version"],
        "collection": row["collection"],
        "qc": QC_NAMES[row["qc"]],
    }


# --- the record -------------------------------------------------------------------------------------------


def _show(call: Call, row: Row) -> dict[str, object]:
    key = row["id"]
    number = "SELECT number FROM session WHERE id = ?"
    session = call.db.one(number, row["session"])
    return {
        "url": call.url("datasets", key),
        "name": row["name"],
        "created_by": row["created_by"],
        "created_datetime": row["created_datetime"],
        "dataset_type": row["dataset_type"],
        "data_format": row["data_format"],
        "collection": row["collection"],
        "session": call.url("sessions", row["session"]),
        "file_size": row["file_size"],
        "hash": row["hash"],
        "version": row["version"],
        "experiment_number": session[0] if session else None,
        "file_records": [
            {
                "id": record["id"],
                "data_repository": record["data_repository"],
                "data_repository_path": record["globus_path"],
                "relative_path": record["relative_path"],
                "data_url": data_url(record["data_url"], record["relative_path"], key),
                "exists": bool(record["exists"]),
            }
            for record in call.db.all(_RECORDS, key)
        ],
        "auto_datetime": row["auto_datetime"],
        "revision": row["revision"] or "",
        "default_dataset": bool(row["default_dataset"]),
        "tags": _tags(call.db, key),
        "qc": QC_NAMES[row["qc"]],
        "json": from_json(row["json"]),
    }


def _show_listed(call: Call, row: Row) -> dict[str, object]:
    counts = (
        "SELECT coalesce(sum(protected), 0), coalesce(sum(public), 0) "
        "FROM dataset_tag JOIN tag ON tag.name = tag WHERE dataset = ?"
    )
    protected, public = call.db.all(counts, row["id"])[0]
    return {**_show(call, row), "protected": protected, "public": public}


def _tags(db: Database, dataset: str) -> list[str]:
    return db.column("SELECT tag FROM dataset_tag WHERE dataset = ? ORDER BY tag", dataset)


def _row(call: Call) -> Row:
    row = call.db.one("SELECT * FROM dataset WHERE id = ?", call.key)
    if row is None:
        raise missing("Dataset")
    return row


def _read(call: Call) -> Response:
    return json_response(200, _show(call, _row(call)))


_FIELDS = (
    Field("name", text(255, blank=False), required=True),
    reference("created_by", named("user", "username")),
    reference("dataset_type", named("dataset_type"), required=True),
    reference("data_format", named("data_format")),
    Field("collection", text(255), null=True),
    reference("session", link("session", "sessions")),
    Field("file_size", integer(64), null=True, kind="integer"),
    Field("hash", text(), null=True),
    Field("version", text(), null=True),
    reference("revision", named("revision")),
    Field("default_dataset", boolean, null=True, kind="boolean"),
    Field("tags", many("tag"), kind="array"),
    Field("qc", quality("qc")),
    Field("json", anything, null=True, kind="object"),
)


def _create(call: Call) -> Response:
    values = check(_FIELDS, call.db, call.data)
    if values.get("session") and values.get("default_dataset") is not False:
        call.db.run(
            "UPDATE dataset SET default_dataset = 0 WHERE session = ? AND collection = ? AND name = ?",
            str(values["session"]),
            str(values.get("collection") or ""),
            str(values["name"]),
        )
    call.key = new_id()
    row: dict[str, Value] = {"id": call.key, "created_by": call.username, "created_datetime": call.now}
    call.db.insert("dataset", {"data_format": "unknown", **row, **_columns(call, values)})
    return json_response(201, _show(call, _written(call, values)))


def _change(call: Call) -> Response:
    """Change it; a new hash does not reset where it exists."""
    _row(call)
    values = check(_FIELDS, call.db, call.data, partial=call.request.method == "PATCH")
    call.db.update("dataset", ("id", call.key), _columns(call, values))
    return json_response(200, _show(call, _written(call, values)))


def _columns(call: Call, values: dict[str, object]) -> dict[str, Value]:
    columns = {name: value for name, value in values.items() if name != "tags"}
    if "json" in columns:
        columns["json"] = to_json(columns["json"])
    for name in ("collection", "hash", "version"):
        if name in columns and columns[name] is None:
            message = f'null value in column "{name}" of relation "data_dataset" violates not-null constraint\n'
            raise FailedError(message)
        if name != "collection" and len(str(columns.get(name, ""))) > _MAX_LABEL:
            raise FailedError(f"value too long for type character varying({_MAX_LABEL})\n")
    return cast("dict[str, Value]", {**columns, "auto_datetime": call.now})


def _written(call: Call, values: dict[str, object]) -> Row:
    if "tags" in values:
        call.db.replace_links("dataset_tag", ("dataset", call.key), "tag", cast("list[str]", values["tags"]))
    row = _row(call)
    if row["collection"] and not GOOD_COLLECTION.fullmatch(row["collection"]):
        raise FailedError(f"{{'collection': ['{_BAD_COLLECTION}']}}")  # what was written stays
    link_dataset(call.db, call.key, row["session"], row["collection"])
    return row


def _delete(call: Call) -> Response:
    """Delete it with its file records, unless a tag protects it."""
    row = _row(call)
    query = "SELECT name FROM dataset_tag JOIN tag ON tag.name = tag WHERE dataset = ? AND protected ORDER BY name"
    tags = call.db.column(query, call.key)
    if tags:
        shown = '", "'.join(tags)
        message = f'Failed to delete dataset {row["name"]} due to protected tag(s) "{shown}"'
        raise by_hand(403, "detail", message)
    call.db.run("DELETE FROM dataset WHERE id = ?", call.key)
    return Response(204)


# --- the list ---------------------------------------------------------------------------------------------

_OF_RECORDS = (
    "SELECT 1 FROM file_record f JOIN repository r ON r.name = f.data_repository WHERE f.dataset = x.id AND {}"
)
_OF_TAGS = "SELECT 1 FROM dataset_tag g JOIN tag t ON t.name = g.tag WHERE g.dataset = x.id AND {}"


def _exists(_: Call, spelled: str) -> Condition:
    """Datasets with a record in a server repository that says so."""
    wanted = {"true": 1, "false": 0}.get(spelled.lower())
    if wanted is None:
        return Condition("1")
    condition = 'NOT r.globus_is_personal AND f."exists" = ?'
    return Condition(f"EXISTS ({_OF_RECORDS.replace('{}', condition)})", (wanted,))


def _tagged(flag: str) -> Custom:
    def condition(_: Call, spelled: str) -> Condition:
        found = f"EXISTS ({_OF_TAGS.replace('{}', 't.' + flag)})"
        return Condition(found if spelled.lower() == "true" else f"NOT {found}")

    return condition


def _quality(_: Call, spelled: str) -> Condition:
    return Condition("x.qc = ?", (read_quality(spelled),))


LISTING = Listing(
    "dataset x LEFT JOIN session s ON s.id = x.session LEFT JOIN subject u ON u.id = s.subject",
    {
        "id": Column("x.id", "uuid"),
        "name": Column("x.name"),
        "collection": Column("x.collection"),
        "hash": Column("x.hash"),
        "version": Column("x.version"),
        "file_size": Column("x.file_size", "int"),
        "qc": Column("x.qc", "int"),
        "default_dataset": Column("x.default_dataset", "bool"),
        "json": Column("x.json", "json"),
        "created_datetime": Column("x.created_datetime", "time"),
        "auto_datetime": Column("x.auto_datetime", "time"),
        "created_by__username": Column("x.created_by"),
        "dataset_type__name": Column("x.dataset_type"),
        "data_format__name": Column("x.data_format"),
        "revision": Column("x.revision"),
        "revision__name": Column("x.revision"),
        "object_id": Column("x.object_id", "uuid"),
        "session": Column("x.session", "uuid"),
        "session__id": Column("x.session", "uuid"),
        "session__number": Column("s.number", "int"),
        "session__start_time": Column("s.start_time", "time"),
        "session__lab__name": Column("s.lab"),
        "session__subject__nickname": Column("u.nickname"),
        "file_records": Column("f.id", "uuid", _OF_RECORDS),
        "file_records__exists": Column('f."exists"', "bool", _OF_RECORDS),
        "file_records__relative_path": Column("f.relative_path", through=_OF_RECORDS),
        "file_records__data_repository__name": Column("f.data_repository", through=_OF_RECORDS),
        "file_records__data_repository__globus_is_personal": Column("r.globus_is_personal", "bool", _OF_RECORDS),
        "tags__name": Column("t.name", through=_OF_TAGS),
        "tags__protected": Column("t.protected", "bool", _OF_TAGS),
    },
    _show_listed,
    {
        "session": Parameter("session", "session"),
        "name": Parameter("name"),
        "collection": Parameter("collection"),
        "hash": Parameter("hash"),
        "version": Parameter("version"),
        "file_size": Parameter("file_size", "number"),
        "default_dataset": Parameter("default_dataset", "bool"),
        "subject": Parameter("session__subject__nickname"),
        "lab": Parameter("session__lab__name"),
        "date": Parameter("session__start_time__date"),
        "experiment_number": Parameter("session__number"),
        "created_by": Parameter("created_by__username"),
        "created_date": Parameter("created_datetime__date"),
        "dataset_type": Parameter("dataset_type__name"),
        "object_id": Parameter("object_id", "uuid"),
        "revision": Parameter("revision__name"),
        "tag": Parameter("tags__name"),
        "qc": _quality,
        "exists": _exists,
        "public": _tagged("public"),
        "protected": _tagged("protected"),
    },
    "x.rowid",
    "x.*",
)

ROUTES = (
    Route(
        "/datasets",
        {"GET": LISTING.answer, "POST": _create},
        parameters=LISTING.parameter_names,
        fields=_FIELDS,
    ),
    Route(
        "/datasets/{id}",
        {"GET": _read, "PUT": _change, "PATCH": _change, "DELETE": _delete},
        fields=_FIELDS,
    ),
)
