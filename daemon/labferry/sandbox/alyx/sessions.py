"""Recording sessions: the list, one, and what can be changed about it.

Room: sandbox. A session has no unique key but its id: the same POST twice is two sessions.
"""

from __future__ import annotations

from typing import cast

from labferry.sandbox.alyx import datasets, insertions, notes
from labferry.sandbox.alyx.answers import FailedError, missing
from labferry.sandbox.alyx.api import Call, FormData, Route
from labferry.sandbox.alyx.fields import (
    QC,
    QC_NAMES,
    Field,
    anything,
    check,
    integer,
    link,
    many,
    moment,
    named,
    quality,
    read_quality,
    reference,
    text,
)
from labferry.sandbox.alyx.fields import subject as subject_field
from labferry.sandbox.alyx.moments import read_day
from labferry.sandbox.alyx.queries import Column, Condition, Custom, Listing, Parameter, pairs
from labferry.sandbox.alyx.store import Database, Row, Value, from_json, new_id, to_json
from labferry.sandbox.http import Response, json_response

FIELDS = (
    reference("subject", subject_field, required=True),
    Field("users", many("user", "username"), kind="array"),
    reference("location", named("location"), null=True),
    Field("procedures", many("procedure"), kind="array"),
    reference("lab", named("lab")),
    Field("projects", many("project"), kind="array"),
    Field("type", text(255), null=True),
    Field("task_protocol", text(1023)),
    Field("number", integer(), null=True, kind="integer"),
    Field("start_time", moment, null=True),
    Field("end_time", moment, null=True),
    Field("narrative", text()),
    reference("parent_session", link("session", "sessions"), null=True),
    Field("n_correct_trials", integer(), null=True, kind="integer"),
    Field("n_trials", integer(), null=True, kind="integer"),
    Field("extended_qc", anything, null=True, kind="object"),
    Field("qc", quality("qc")),
    Field("json", anything, null=True, kind="object"),
)
_LINKS = {"users": "user", "projects": "project", "procedures": "procedure"}
_SOURCE = "session s JOIN subject u ON u.id = s.subject"


def users_of(db: Database, session: str) -> list[str]:
    """Return a session's users."""
    return db.column("SELECT user FROM session_user WHERE session = ? ORDER BY user", session)


def projects_of(db: Database, session: str) -> list[str]:
    """Return a session's projects."""
    return db.column("SELECT project FROM session_project WHERE session = ? ORDER BY project", session)


# --- one --------------------------------------------------------------------------------------------------


def _read(call: Call) -> Response:
    return json_response(200, _show(call, _row(call, call.key)))


def _row(call: Call, key: str) -> Row:
    row = call.db.one(f"SELECT s.*, u.nickname FROM {_SOURCE} WHERE s.id = ?", key)
    if row is None:
        raise missing("Session")
    return row


def _show(call: Call, row: Row) -> dict[str, object]:
    key = row["id"]
    procedures = "SELECT procedure FROM session_procedure WHERE session = ? ORDER BY procedure"
    waters = "SELECT id, water_type, water_administered FROM water_administration WHERE session = ?"
    return {
        "subject": row["nickname"],
        "users": users_of(call.db, key),
        "location": row["location"],
        "procedures": call.db.column(procedures, key),
        "lab": row["lab"],
        "projects": projects_of(call.db, key),
        "type": row["type"],
        "task_protocol": row["task_protocol"],
        "number": row["number"],
        "start_time": row["start_time"],
        "end_time": row["end_time"],
        "narrative": row["narrative"],
        "parent_session": call.url("sessions", row["parent_session"]),
        "n_correct_trials": row["n_correct_trials"],
        "n_trials": row["n_trials"],
        "url": call.url("sessions", key),
        "extended_qc": from_json(row["extended_qc"]),
        "qc": QC_NAMES[row["qc"]],
        "wateradmin_session_related": [
            {
                "id": water["id"],
                "name": "",
                "water_type": water["water_type"],
                "water_administered": water["water_administered"],
            }
            for water in call.db.all(waters, key)
        ],
        "data_dataset_session_related": datasets.online_datasets(call, key),
        "auto_datetime": row["auto_datetime"],
        "id": key,
        "json": from_json(row["json"]),
        "probe_insertion": insertions.of_session(call, key),
        "field_of_view": [],
        "notes": notes.of_object(call, key),
    }


def _create(call: Call) -> Response:
    values = check(FIELDS, call.db, _with_lists(call.data))
    if not values.get("users"):
        values["users"] = [call.username]
    key = new_id()
    lab = call.db.one("SELECT lab FROM subject WHERE id = ?", str(values["subject"]))
    row = {"id": key, "lab": lab[0] if lab else None, "start_time": call.now, **_columns(call, values)}
    call.db.insert("session", row)
    _write_links(call, key, values)
    return json_response(201, _show(call, _row(call, key)))


def _change(call: Call) -> Response:
    _row(call, call.key)
    values = check(FIELDS, call.db, _with_lists(call.data), partial=call.request.method == "PATCH")
    call.db.update("session", ("id", call.key), _columns(call, values))
    _write_links(call, call.key, values)
    return json_response(200, _show(call, _row(call, call.key)))


def _delete(call: Call) -> Response:
    """Delete it with all its datasets, protected ones included."""
    _row(call, call.key)
    call.db.run("DELETE FROM session WHERE id = ?", call.key)
    return Response(204)


def _with_lists(data: object) -> object:
    """Return a form's data with its list fields as lists."""
    if not isinstance(data, FormData):
        return data
    return {name: [value] if name in _LINKS else value for name, value in data.items()}


def _columns(call: Call, values: dict[str, object]) -> dict[str, Value]:
    columns = {name: value for name, value in values.items() if name not in _LINKS}
    for name in ("json", "extended_qc"):
        if name in columns:
            columns[name] = to_json(columns[name])
    return cast("dict[str, Value]", {**columns, "auto_datetime": call.now})


def _write_links(call: Call, key: str, values: dict[str, object]) -> None:
    for name, other in _LINKS.items():
        if name in values:
            call.db.replace_links(f"session_{other}", ("session", key), other, cast("list[str]", values[name]))


# --- the list ---------------------------------------------------------------------------------------------


def _show_brief(call: Call, row: Row) -> dict[str, object]:
    return {
        "id": row["id"],
        "subject": row["nickname"],
        "start_time": row["start_time"],
        "number": row["number"],
        "lab": row["lab"],
        "projects": projects_of(call.db, row["id"]),
        "url": call.url("sessions", row["id"]),
        "task_protocol": row["task_protocol"],
    }


def _date_range(_: Call, text_: str) -> Condition:
    days = text_.split(",")
    if len(days) < 2:
        raise FailedError("list index out of range")
    return Condition("substr(s.start_time, 1, 10) BETWEEN ? AND ?", (read_day(days[0]), read_day(days[1])))


def _users(_: Call, text_: str) -> Condition:
    names = tuple(text_.split(","))
    marks = ", ".join("?" * len(names))
    linked = f"SELECT count(*) FROM session_user x WHERE x.session = s.id AND x.user IN ({marks})"
    return Condition(f"({linked}) >= ?", (*names, len(names)))


def _dataset_types(_: Call, text_: str) -> Condition:
    names = tuple(text_.split(","))
    marks = ", ".join("?" * len(names))
    found = (
        f"SELECT count(DISTINCT x.dataset_type) FROM dataset x WHERE x.session = s.id AND x.dataset_type IN ({marks})"
    )
    return Condition(f"({found}) >= ?", (*names, len(names)))


def _datasets(call: Call, text_: str) -> Condition:
    """Sessions where each of these files exists on a server repository, at most so bad."""
    names = tuple(text_.split(","))
    worst = QC.get(call.request.query.get("dataset_qc_lte", "FAIL"), QC["FAIL"])
    marks = ", ".join("?" * len(names))
    found = (
        "SELECT count(DISTINCT x.name) FROM dataset x "
        f"WHERE x.session = s.id AND x.qc <= ? AND x.name IN ({marks}) AND {datasets.ONLINE}"
    )
    return Condition(f"({found}) >= ?", (worst, *names, len(names)))


def _performance(comparison: str) -> Parameter:
    return Parameter(f"performance__{comparison}", "number")


def _in_json(column: str) -> Custom:
    def condition(_: Call, text_: str) -> Condition:
        parts = [LISTING.condition(f"{column}__{path}", value) for path, value in pairs(text_).items()]
        joined = " AND ".join(part.sql for part in parts)
        return Condition(f"({joined})", tuple(value for part in parts for value in part.values))

    return condition


def _quality(_: Call, text_: str) -> Condition:
    return Condition("s.qc = ?", (read_quality(text_),))


_OF_DATASETS = "SELECT 1 FROM dataset x WHERE x.session = s.id AND {}"
_OF_PROJECTS = "SELECT 1 FROM session_project x WHERE x.session = s.id AND {}"
_OF_USERS = "SELECT 1 FROM session_user x WHERE x.session = s.id AND {}"
_OF_PROCEDURES = "SELECT 1 FROM session_procedure x WHERE x.session = s.id AND {}"
_OF_TAGS = "SELECT 1 FROM dataset x JOIN dataset_tag t ON t.dataset = x.id WHERE x.session = s.id AND {}"

LISTING = Listing(
    _SOURCE,
    {
        "id": Column("s.id", "uuid"),
        "subject": Column("s.subject", "uuid"),
        "subject__nickname": Column("u.nickname"),
        "subject__lab__name": Column("u.lab"),
        "lab__name": Column("s.lab"),
        "location__name": Column("s.location"),
        "type": Column("s.type"),
        "task_protocol": Column("s.task_protocol"),
        "number": Column("s.number", "int"),
        "start_time": Column("s.start_time", "time"),
        "end_time": Column("s.end_time", "time"),
        "narrative": Column("s.narrative"),
        "parent_session": Column("s.parent_session", "uuid"),
        "n_trials": Column("s.n_trials", "int"),
        "n_correct_trials": Column("s.n_correct_trials", "int"),
        "performance": Column("100.0 * s.n_correct_trials / s.n_trials", "any"),
        "qc": Column("s.qc", "int"),
        "extended_qc": Column("s.extended_qc", "json"),
        "json": Column("s.json", "json"),
        "auto_datetime": Column("s.auto_datetime", "time"),
        "projects__name": Column("x.project", through=_OF_PROJECTS),
        "users__username": Column("x.user", through=_OF_USERS),
        "procedures__name": Column("x.procedure", through=_OF_PROCEDURES),
        "data_dataset_session_related": Column("x.id", "uuid", _OF_DATASETS),
        "data_dataset_session_related__name": Column("x.name", through=_OF_DATASETS),
        "data_dataset_session_related__collection": Column("x.collection", through=_OF_DATASETS),
        "data_dataset_session_related__dataset_type__name": Column("x.dataset_type", through=_OF_DATASETS),
        "data_dataset_session_related__tags__name": Column("t.tag", through=_OF_TAGS),
    },
    _show_brief,
    {
        "subject": Parameter("subject__nickname__iexact"),
        "nickname": Parameter("subject__nickname__iexact"),
        "users": _users,
        "date_range": _date_range,
        "start_time": Parameter("start_time", "time"),
        "end_time": Parameter("end_time", "time"),
        "lab": Parameter("lab__name__iexact"),
        "location": Parameter("location__name__icontains"),
        "number": Parameter("number", "number"),
        "type": Parameter("type__iexact"),
        "task_protocol": Parameter("task_protocol__icontains"),
        "projects": Parameter("projects__name__icontains"),
        "project": Parameter("projects__name__icontains"),
        "procedures": Parameter("procedures__name__icontains"),
        "narrative": Parameter("narrative"),
        "n_trials": Parameter("n_trials", "number"),
        "n_correct_trials": Parameter("n_correct_trials", "number"),
        "performance_gte": _performance("gte"),
        "performance_lte": _performance("lte"),
        "qc": _quality,
        "json": _in_json("json"),
        "extended_qc": _in_json("extended_qc"),
        "dataset_types": _dataset_types,
        "datasets": _datasets,
        "dataset_qc_lte": lambda _, __: Condition("1"),
        "tag": Parameter("data_dataset_session_related__tags__name__icontains"),
    },
    "s.start_time DESC, s.rowid",
    "s.*, u.nickname",
)

ROUTES = (
    Route(
        "/sessions",
        {"GET": LISTING.answer, "POST": _create},
        parameters=LISTING.parameter_names,
        fields=FIELDS,
    ),
    Route(
        "/sessions/{id}",
        {"GET": _read, "PUT": _change, "PATCH": _change, "DELETE": _delete},
        fields=FIELDS,
    ),
)
