"""Labs, users, projects, repositories, dataset types and the other tables a client looks things up in.

Room: sandbox. Declarations; what they do is in `tables`.
"""

from __future__ import annotations

from labferry.sandbox.alyx.api import Call
from labferry.sandbox.alyx.auth import without_password
from labferry.sandbox.alyx.fields import (
    Field,
    anything,
    boolean,
    identifier,
    many,
    moment,
    named,
    number,
    reference,
    text,
)
from labferry.sandbox.alyx.queries import Column, Parameter
from labferry.sandbox.alyx.store import Database, Row, from_json, new_id
from labferry.sandbox.alyx.tables import Link, Table, without_id


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
_DESCRIPTION = Field("description", text(1023))
_JSON = Field("json", anything, null=True, kind="object")


def _lower_case(db: Database, value: object) -> object:
    return str(text(255)(db, value)).lower()


TABLES = (
    Table(
        "labs",
        "lab",
        "Lab",
        _lab,
        _LAB_COLUMNS,
        _BY_NAME,
        "name",
        (
            _NAME,
            Field("institution", text(255)),
            Field("address", text(255)),
            Field("timezone", text(64)),
            Field("repositories", many("repository"), kind="array"),
            Field("reference_weight_pct", number, kind="number"),
            Field("zscore_weight_pct", number, kind="number"),
            _JSON,
        ),
        {"repositories": Link("lab_repository", "lab", "repository")},
        generic=True,
    ),
    Table(
        "users",
        "user",
        "LabMember",
        _user,
        _text_columns("id", "username", "email"),
        {"username": Parameter("username"), "email": Parameter("email")},
        "username",
        (
            Field("username", text(150, blank=False), required=True),
            Field("email", text(254)),
            Field("is_stock_manager", boolean, kind="boolean"),
        ),
        creates=without_password,
        key="username",
        generic=True,
    ),
    Table(
        "projects",
        "project",
        "Project",
        _project,
        _NAMED,
        order="name",
        fields=(_NAME, _DESCRIPTION, Field("users", many("user", "username"), kind="array")),
        links={"users": Link("project_user", "project", "user")},
    ),
    Table(
        "procedures",
        "procedure",
        "ProcedureType",
        _procedure,
        _NAMED,
        fields=(_NAME, _DESCRIPTION, _JSON),
        on_row="",
    ),
    Table(
        "locations",
        "location",
        "LabLocation",
        _location,
        {"name": Column("name"), "lab__name": Column("lab")},
        fields=(_NAME, reference("lab", named("lab")), _JSON),
        on_list="GET",
        on_row="GET PUT PATCH",
    ),
    Table("water-type", "water_type", "WaterType", _water_type, _NAMED, fields=(_NAME, _JSON), on_row="GET"),
    Table(
        "data-repository-type",
        "repository_type",
        "DataRepositoryType",
        _repository_type,
        _NAMED,
        order="name",
        fields=(_NAME, _JSON),
        creates=without_id,
    ),
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
            "globus_endpoint_id": Parameter("globus_endpoint_id", "uuid"),
            "globus_is_personal": Parameter("globus_is_personal", "bool"),
        },
        "name",
        (
            _NAME,
            Field("timezone", text(64)),
            Field("globus_path", text(1000)),
            Field("hostname", text(200)),
            Field("data_url", text(200), null=True),
            reference("repository_type", named("repository_type"), null=True),
            Field("globus_endpoint_id", identifier, null=True),
            Field("globus_is_personal", boolean, null=True, kind="boolean"),
            _JSON,
        ),
    ),
    Table(
        "dataset-types",
        "dataset_type",
        "DatasetType",
        _dataset_type,
        _NAMED,
        order="name",
        fields=(
            _NAME,
            reference("created_by", named("user", "username"), null=True),
            _DESCRIPTION,
            Field("filename_pattern", _lower_case),
        ),
        creates=lambda call: {"id": new_id(), "created_by": call.username},
    ),
    Table(
        "data-formats",
        "data_format",
        "DataFormat",
        _data_format,
        _NAMED,
        order="name",
        fields=(
            _NAME,
            _DESCRIPTION,
            Field("file_extension", text(255), required=True),
            Field("matlab_loader_function", text(255)),
            Field("python_loader_function", text(255)),
            _JSON,
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
            _DESCRIPTION,
            Field("protected", boolean, kind="boolean"),
            Field("public", boolean, kind="boolean"),
            Field("hash", text(64), null=True),
            _JSON,
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
        (_NAME, _DESCRIPTION, Field("created_datetime", moment, null=True), _JSON),
        creates=lambda call: {"id": new_id(), "created_datetime": call.now},
    ),
)

ROUTES = tuple(route for table in TABLES for route in table.routes())
