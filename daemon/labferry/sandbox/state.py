"""Everything the sandbox's Alyx holds, as one JSON object: what a test compares.

Room: sandbox.
"""

from __future__ import annotations

from labferry.sandbox.alyx.fields import QC_NAMES
from labferry.sandbox.alyx.store import Database, Row, from_json

_FLAGS = {"exists", "default_dataset", "adlib", "protected", "public", "globus_is_personal", "is_public"}
_JSON = {"json", "extended_qc"}


def dump(db: Database) -> dict[str, object]:
    """Return labs, repositories, users, subjects, sessions with their datasets and file records, and the rest.

    Lists are in the order of creation; passwords and tokens are left out.
    """
    nicknames = {row["id"]: row["nickname"] for row in db.all("SELECT id, nickname FROM subject")}
    repositories = "SELECT repository FROM lab_repository WHERE lab = ? ORDER BY repository"
    return {
        "labs": [
            {**_plain(row), "repositories": db.column(repositories, row["name"])}
            for row in db.all("SELECT * FROM lab ORDER BY rowid")
        ],
        "repositories": _rows(db, "repository"),
        "users": [
            {"username": row["username"], "is_public": bool(row["is_public"])}
            for row in db.all("SELECT * FROM user ORDER BY rowid")
        ],
        "subjects": _rows(db, "subject"),
        "sessions": [_session(db, row, nicknames) for row in db.all("SELECT * FROM session ORDER BY rowid")],
        "datasets": [_dataset(db, row) for row in db.all("SELECT * FROM dataset ORDER BY rowid")],
        "insertions": _rows(db, "insertion"),
        "weighings": [
            {**_plain(row), "subject": nicknames[row["subject"]]}
            for row in db.all("SELECT * FROM weighing ORDER BY rowid")
        ],
        "water_administrations": [
            {**_plain(row), "subject": nicknames[row["subject"]]}
            for row in db.all("SELECT * FROM water_administration ORDER BY rowid")
        ],
        "notes": _rows(db, "note"),
        "tasks": _rows(db, "task"),
        "tags": _rows(db, "tag"),
        "revisions": _rows(db, "revision"),
    }


def _session(db: Database, row: Row, nicknames: dict[str, str]) -> dict[str, object]:
    links = {
        "users": "SELECT user FROM session_user WHERE session = ? ORDER BY user",
        "projects": "SELECT project FROM session_project WHERE session = ? ORDER BY project",
        "procedures": "SELECT procedure FROM session_procedure WHERE session = ? ORDER BY procedure",
    }
    found = {name: db.column(query, row["id"]) for name, query in links.items()}
    return {**_plain(row), "subject": nicknames[row["subject"]], "qc": QC_NAMES[row["qc"]], **found}


def _dataset(db: Database, row: Row) -> dict[str, object]:
    records = db.all("SELECT * FROM file_record WHERE dataset = ? ORDER BY rowid", row["id"])
    tags = db.column("SELECT tag FROM dataset_tag WHERE dataset = ? ORDER BY tag", row["id"])
    return {
        **_plain(row),
        "qc": QC_NAMES[row["qc"]],
        "tags": tags,
        "file_records": [_plain(record) for record in records],
    }


def _rows(db: Database, table: str) -> list[dict[str, object]]:
    return [_plain(row) for row in db.all(" ".join(["SELECT * FROM", table, "ORDER BY rowid"]))]


def _plain(row: Row) -> dict[str, object]:
    return {name: _value(name, value) for name, value in dict(row).items()}


def _value(name: str, value: object) -> object:
    if name in _FLAGS:
        return bool(value)
    if name in _JSON and isinstance(value, str):
        return from_json(value)
    return value
