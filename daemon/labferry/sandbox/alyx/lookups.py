"""Labs, users, projects, repositories, dataset types and the other tables a client looks things up in.

Room: sandbox.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

from labferry.sandbox.alyx.answers import invalid, missing
from labferry.sandbox.alyx.api import Call, Endpoint, Route
from labferry.sandbox.alyx.fields import Field, anything, boolean, check, named, text
from labferry.sandbox.alyx.queries import Column, Listing, Parameter
from labferry.sandbox.alyx.store import Row, Value, from_json, new_id, to_json
from labferry.sandbox.http import Response, json_response

Render = Callable[[Call, Row], dict[str, object]]


@dataclass(frozen=True)
class Table:
    """A look-up table served at `/<path>` and, by name, at `/<path>/{name}`.

    Attributes
    ----------
    model : str
        Its name in the real server's messages.
    fields : tuple
        What can be written; empty makes it read-only.
    creates : Callable
        Values that a new row gets beside the given ones.
    """

    path: str
    table: str
    model: str
    render: Render
    columns: Mapping[str, Column]
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    order: str = "rowid"
    fields: tuple[Field, ...] = ()
    creates: Callable[[Call], dict[str, Value]] = field(default=lambda _: {"id": new_id()})

    @property
    def key(self) -> str:
        """The column that names a row."""
        return "username" if self.table == "user" else "name"

    def routes(self) -> tuple[Route, Route]:
        """Return the list's and the record's route."""
        listing = Listing(self.table, self.columns, self.render, self.parameters, self.order)
        on_list: dict[str, Endpoint] = {"GET": listing.answer}
        on_row: dict[str, Endpoint] = {"GET": self._read}
        if self.fields:
            on_list["POST"] = self._create
            on_row |= {"PUT": self._change, "PATCH": self._change, "DELETE": self._delete}
        names = listing.parameter_names
        return (
            Route(f"/{self.path}", on_list, parameters=names, fields=self.fields),
            Route(f"/{self.path}/{{name}}", on_row, fields=self.fields),
        )

    def _row(self, call: Call, key: str) -> Row:
        row = call.db.one(" ".join(["SELECT * FROM", self.table, "WHERE", self.key, "= ?"]), key)
        if row is None:
            raise missing(self.model)
        return row

    def _read(self, call: Call) -> Response:
        return json_response(200, self.render(call, self._row(call, call.key)))

    def _create(self, call: Call) -> Response:
        values = cast("dict[str, Value]", check(self.fields, call.db, call.data))
        row = {**self.creates(call), **values}
        try:
            call.db.insert(self.table, _stored(row))
        except sqlite3.IntegrityError as error:
            raise invalid({"name": [f"{self.model} with this name already exists."]}) from error
        return json_response(201, self.render(call, self._row(call, str(row["name"]))))

    def _change(self, call: Call) -> Response:
        row = self._row(call, call.key)
        partial = call.request.method == "PATCH"
        values = cast("dict[str, Value]", check(self.fields, call.db, call.data, partial=partial))
        call.db.update(self.table, (self.key, call.key), _stored(values))
        return json_response(200, self.render(call, self._row(call, str(values.get("name", row[self.key])))))

    def _delete(self, call: Call) -> Response:
        self._row(call, call.key)
        call.db.run(" ".join(["DELETE FROM", self.table, "WHERE", self.key, "= ?"]), call.key)
        return Response(204)


def _stored(values: Mapping[str, Value]) -> dict[str, Value]:
    return {name: to_json(value) if name == "json" else value for name, value in values.items()}


def _text_columns(*names: str) -> dict[str, Column]:
    return {name: Column(name) for name in names}


def _lab(call: Call, row: Row) -> dict[str, object]:
    repositories = call.db.column(
        "SELECT repository FROM lab_repository WHERE lab = ? ORDER BY repository", row["name"]
    )
    return {
        "name": row["name"],
        "institution": row["institution"],
        "address": row["address"],
        "timezone": row["timezone"],
        "repositories": repositories,
        "reference_weight_pct": row["reference_weight_pct"],
        "zscore_weight_pct": row["zscore_weight_pct"],
        "json": from_json(row["json"]),
    }


_OF_LAB = "SELECT 1 FROM lab_repository JOIN repository ON repository.name = repository WHERE lab = lab.name AND {}"
_LAB_COLUMNS = {
    **_text_columns("id", "name", "institution", "address", "timezone"),
    "json": Column("json", "json"),
    "repositories__name": Column("repository.name", through=_OF_LAB),
    "repositories__globus_endpoint_id": Column("repository.globus_endpoint_id", through=_OF_LAB),
    "repositories__hostname": Column("repository.hostname", through=_OF_LAB),
    "repositories__globus_is_personal": Column("repository.globus_is_personal", "bool", _OF_LAB),
}


def _user(call: Call, row: Row) -> dict[str, object]:
    name = row["username"]
    responsible = "SELECT nickname FROM subject WHERE responsible_user = ? ORDER BY nickname"
    return {
        "id": row["id"],
        "username": name,
        "email": row["email"],
        "subjects_responsible": call.db.column(responsible, name),
        "lab": call.db.column("SELECT lab FROM user_lab WHERE user = ? ORDER BY lab", name),
        "allowed_users": [],
        "is_stock_manager": bool(row["is_stock_manager"]),
    }


def _project(call: Call, row: Row) -> dict[str, object]:
    users = call.db.column("SELECT user FROM project_user WHERE project = ? ORDER BY user", row["name"])
    return {"name": row["name"], "description": row["description"], "users": users}


def _procedure(_: Call, row: Row) -> dict[str, object]:
    return {
        "id": row["id"],
        "name": row["name"],
        "json": from_json(row["json"]),
        "description": row["description"],
    }


def _location(_: Call, row: Row) -> dict[str, object]:
    return {"name": row["name"], "lab": row["lab"], "json": from_json(row["json"])}


def _water_type(call: Call, row: Row) -> dict[str, object]:
    return {
        "url": call.url("water-type", row["name"]),
        "json": from_json(row["json"]),
        "name": row["name"],
    }


def _repository_type(call: Call, row: Row) -> dict[str, object]:
    return {
        "url": call.url("data-repository-type", row["name"]),
        "json": from_json(row["json"]),
        "name": row["name"],
    }


def _repository(_: Call, row: Row) -> dict[str, object]:
    return {
        "name": row["name"],
        "timezone": row["timezone"],
        "globus_path": row["globus_path"],
        "hostname": row["hostname"],
        "data_url": row["data_url"],
        "repository_type": row["repository_type"],
        "globus_endpoint_id": row["globus_endpoint_id"],
        "globus_is_personal": bool(row["globus_is_personal"]),
        "json": from_json(row["json"]),
    }


def _dataset_type(_: Call, row: Row) -> dict[str, object]:
    return {
        "id": row["id"],
        "name": row["name"],
        "created_by": row["created_by"],
        "description": row["description"],
        "filename_pattern": row["filename_pattern"],
    }


def _data_format(_: Call, row: Row) -> dict[str, object]:
    return {
        "id": row["id"],
        "json": from_json(row["json"]),
        "name": row["name"],
        "description": row["description"],
        "file_extension": row["file_extension"],
        "matlab_loader_function": row["matlab_loader_function"],
        "python_loader_function": row["python_loader_function"],
    }


def _tag(_: Call, row: Row) -> dict[str, object]:
    return {
        "id": row["id"],
        "json": from_json(row["json"]),
        "name": row["name"],
        "description": row["description"],
        "protected": bool(row["protected"]),
        "public": bool(row["public"]),
        "hash": row["hash"],
    }


def _revision(_: Call, row: Row) -> dict[str, object]:
    return {
        "id": row["id"],
        "json": from_json(row["json"]),
        "name": row["name"],
        "description": row["description"],
        "created_datetime": row["created_datetime"],
    }


_NAMED = _text_columns("name")
_BY_NAME = {"name": Parameter("name")}
_NAME = Field("name", text(255, blank=False), required=True)

TABLES = (
    Table("labs", "lab", "Lab", _lab, _LAB_COLUMNS, _BY_NAME, "name"),
    Table(
        "users",
        "user",
        "LabMember",
        _user,
        _text_columns("id", "username", "email"),
        {"username": Parameter("username"), "email": Parameter("email")},
        "username",
    ),
    Table("projects", "project", "Project", _project, _NAMED, order="name"),
    Table("procedures", "procedure", "ProcedureType", _procedure, _NAMED),
    Table("locations", "location", "LabLocation", _location, {"name": Column("name"), "lab__name": Column("lab")}),
    Table("water-type", "water_type", "WaterType", _water_type, _NAMED),
    Table("data-repository-type", "repository_type", "DataRepositoryType", _repository_type, _NAMED, order="name"),
    Table(
        "data-repository",
        "repository",
        "DataRepository",
        _repository,
        {
            **_text_columns("name", "hostname", "globus_path", "data_url", "timezone", "repository_type"),
            "globus_endpoint_id": Column("globus_endpoint_id", "uuid"),
            "globus_is_personal": Column("globus_is_personal", "bool"),
        },
        {
            "name": Parameter("name"),
            "hostname": Parameter("hostname"),
            "globus_endpoint_id": Parameter("globus_endpoint_id", "uuid"),
            "globus_is_personal": Parameter("globus_is_personal", "bool"),
        },
        "name",
    ),
    Table(
        "dataset-types",
        "dataset_type",
        "DatasetType",
        _dataset_type,
        _text_columns("id", "name", "created_by", "description", "filename_pattern"),
        _BY_NAME,
        "name",
        (
            _NAME,
            Field("created_by", named("user", "username"), null=True),
            Field("description", text(1023)),
            Field("filename_pattern", lambda db, value: str(text(255)(db, value)).lower()),
        ),
        lambda call: {"id": new_id(), "created_by": call.username},
    ),
    Table(
        "data-formats",
        "data_format",
        "DataFormat",
        _data_format,
        _text_columns("id", "name", "file_extension"),
        _BY_NAME,
        "name",
        (
            _NAME,
            Field("description", text(255)),
            Field("file_extension", text(255)),
            Field("matlab_loader_function", text(255)),
            Field("python_loader_function", text(255)),
        ),
    ),
    Table(
        "tags",
        "tag",
        "Tag",
        _tag,
        _NAMED,
        _BY_NAME,
        "name",
        (
            _NAME,
            Field("description", text(1023)),
            Field("protected", boolean, kind="boolean"),
            Field("public", boolean, kind="boolean"),
            Field("hash", text(64), null=True),
            Field("json", anything, null=True, kind="object"),
        ),
    ),
    Table(
        "revisions",
        "revision",
        "Revision",
        _revision,
        _NAMED,
        _BY_NAME,
        "name",
        (_NAME, Field("description", text(1023)), Field("json", anything, null=True, kind="object")),
        lambda call: {"id": new_id(), "created_datetime": call.now},
    ),
)

ROUTES = tuple(route for table in TABLES for route in table.routes())
