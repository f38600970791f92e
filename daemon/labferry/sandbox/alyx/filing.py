"""Datasets and file records as /register-file makes them, one file at a time.

Room: sandbox. Every statement is committed by itself, so whatever fails leaves its traces: that is the point.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass

from labferry.sandbox.alyx.answers import FailedError, by_hand, several
from labferry.sandbox.alyx.api import Call
from labferry.sandbox.alyx.datasets import is_protected, link_dataset
from labferry.sandbox.alyx.fields import QC, QC_NAMES
from labferry.sandbox.alyx.moments import read_day
from labferry.sandbox.alyx.paths import GOOD_PATH, DatasetPath, data_format_of, dataset_type_of, session_path
from labferry.sandbox.alyx.sessions import users_of
from labferry.sandbox.alyx.store import Database, Row, Value, new_id

_MAX_NAME = 255
_MAX_LABEL = 64
_MAX_SIZE = 2**63 - 1
_KEY = "session content_type object_id collection name dataset_type data_format revision"
_OWNED = "session IS ? AND content_type IS ? AND object_id IS ?"


class UnknownSubjectError(ValueError):
    """No subject has the nickname of a path."""


@dataclass(frozen=True)
class Owner:
    """What a dataset belongs to: a session, or any other record."""

    session: str | None = None
    content_type: str | None = None
    object_id: str | None = None
    lab: str = ""

    @property
    def key(self) -> tuple[str | None, str | None, str | None]:
        """The three columns that name it."""
        return self.session, self.content_type, self.object_id


@dataclass(frozen=True)
class File:
    """One file of a request, with what was said about it."""

    path: DatasetPath
    hash: str
    size: int | None
    version: str
    qc: str


@dataclass(frozen=True)
class Filing:
    """What holds for all files of a request.

    `exists_in` are the repositories where the files are said to be. Anything true as `default` takes the default
    away from other revisions, but only `True` itself gives it to this one.
    """

    user: str | None
    owner: Owner
    repositories: Sequence[str]
    exists_in: Sequence[str]
    default: object
    types: list[Row]


# --- the session of a path --------------------------------------------------------------------------------


def session_of(call: Call, path: str, user: str | None) -> Owner:
    """Find the session a path names; joins the user to it and ties it to another session of its day.

    Raises
    ------
    ValueError
        The path names none, or the subject (`UnknownSubjectError`) or the session does not exist.
    FailedError
        The nickname is not unique, or the date is none.
    """
    db, named = call.db, session_path(path)
    subjects = db.all("SELECT id, lab FROM subject WHERE nickname = ?", named.subject)
    if not subjects:
        raise UnknownSubjectError("Subject matching query does not exist.")
    if len(subjects) > 1:
        raise several("Subject", len(subjects))
    day = read_day(named.date)
    of_day = "SELECT * FROM session WHERE subject = ? AND substr(start_time, 1, 10) = ?"
    base = db.one(f"{of_day} AND parent_session IS NULL ORDER BY id", subjects[0]["id"], day)
    if base is None:
        raise ValueError(f"A base session for {named.subject} on {named.date} does not exist")
    _join(call, base["id"], user)
    session = db.one(f"{of_day} AND number = ? ORDER BY id", subjects[0]["id"], day, named.number)
    if session is None:
        raise ValueError(f"A session for {named.subject}/{named.number} on {named.date} does not exist")
    _join(call, session["id"], user)
    if session["parent_session"] is None and session["id"] != base["id"]:
        changes = {"parent_session": base["id"], "auto_datetime": call.now}
        db.update("session", ("id", session["id"]), changes)
    return Owner(session=session["id"], lab=subjects[0]["lab"])


def _join(call: Call, session: str, user: str | None) -> None:
    if user is None:
        message = 'null value in column "labmember_id" of relation "actions_session_users" violates not-null'
        raise FailedError(message)
    if user not in users_of(call.db, session):
        call.db.run("INSERT OR IGNORE INTO session_user (session, user) VALUES (?, ?)", session, user)
        call.db.update("session", ("id", session), {"auto_datetime": call.now})


# --- protection -------------------------------------------------------------------------------------------


def protected_files(
    db: Database, owner: Owner, names: Sequence[str], paths: Sequence[DatasetPath]
) -> list[dict[str, object]] | None:
    """Return each file's revisions, newest first, with whether they are protected; None if none is."""
    query = (
        "SELECT d.id, coalesce(d.revision, '') AS revision FROM dataset d "
        "LEFT JOIN revision r ON r.name = d.revision "
        "WHERE d.session IS ? AND d.content_type IS ? AND d.object_id IS ? AND d.collection = ? AND d.name = ? "
        "ORDER BY r.created_datetime IS NULL, r.created_datetime DESC"
    )
    found: list[dict[str, object]] = []
    any_protected = False
    for name, path in zip(names, paths, strict=True):
        rows = db.all(query, *owner.key, path.collection, path.name)
        revisions = [{row["revision"]: is_protected(db, row["id"])} for row in rows]
        any_protected |= any(True in revision.values() for revision in revisions)
        found.append({name: revisions})
    return found if any_protected else None


# --- one file ---------------------------------------------------------------------------------------------


def register_file(call: Call, filing: Filing, file: File) -> str:
    """Make or refresh the dataset and its file records; return the dataset's id.

    Raises
    ------
    RefusedError, FailedError
        What was done up to there stays.
    """
    db, path = call.db, file.path
    if path.revision:
        db.run(
            "INSERT OR IGNORE INTO revision (name, id, created_datetime) VALUES (?, ?, ?)",
            path.revision,
            new_id(),
            call.now,
        )
    types = (dataset_type_of(path.name, filing.types), data_format_of(path.name, db))
    if filing.default:
        db.run(
            f"UPDATE dataset SET default_dataset = 0 WHERE {_OWNED} AND collection = ? AND name = ?",
            *filing.owner.key,
            path.collection,
            path.name,
        )
    dataset, is_new = _get_or_create(call, filing, path, types)
    _grade(db, dataset, file, default=filing.default is True)
    if not is_new and is_protected(db, dataset["id"]):
        raise by_hand(403, "detail", f"Dataset {dataset['id']} is protected, cannot patch")
    patched = _describe(call, dataset, filing, file)
    for repository in filing.repositories:
        _record(db, dataset["id"], repository, path, exists=repository in filing.exists_in, patched=patched)
    link_dataset(db, dataset["id"], filing.owner.session, path.collection)
    return str(dataset["id"])


def _get_or_create(call: Call, filing: Filing, path: DatasetPath, types: tuple[str, str]) -> tuple[Row, bool]:
    query = (
        f"SELECT * FROM dataset WHERE {_OWNED} AND collection = ? AND name = ? "
        "AND dataset_type = ? AND data_format = ? AND revision IS ?"
    )
    key = (*filing.owner.key, path.collection, path.name, *types, path.revision or None)
    rows = call.db.all(query, *key)
    if len(rows) > 1:
        raise several("Dataset", len(rows))
    if rows:
        return rows[0], False
    if len(path.collection) > _MAX_NAME or len(path.name) > _MAX_NAME:
        raise FailedError(f"value too long for type character varying({_MAX_NAME})\n")
    time.sleep(call.race_window)  # no lock, no unique key: whoever looked meanwhile will insert one too
    dataset = new_id()
    values = dict(zip(_KEY.split(), key, strict=True))
    call.db.insert("dataset", {"id": dataset, **values, "created_datetime": call.now, "auto_datetime": call.now})
    return call.db.all("SELECT * FROM dataset WHERE id = ?", dataset)[0], True


def _grade(db: Database, dataset: Row, file: File, *, default: bool) -> None:
    qc = QC.get(file.qc.upper(), int(file.qc) if file.qc.isdigit() else None)
    if qc not in QC_NAMES:
        message = f'Invalid QC value "{file.qc}" for dataset "{file.path.relative_path}"'
        raise by_hand(400, "detail", message)
    db.update("dataset", ("id", dataset["id"]), {"default_dataset": default, "qc": qc})


def _describe(call: Call, dataset: Row, filing: Filing, file: File) -> bool:
    """Store creator, version, hash and size; return whether the content counts as new."""
    errors: dict[str, list[str]] = {}
    if file.size is not None and file.size > _MAX_SIZE:
        errors["file_size"] = [f"Ensure this value is less than or equal to {_MAX_SIZE}."]
    for name, value in (("hash", file.hash), ("version", file.version)):
        if len(value) > _MAX_LABEL:
            errors[name] = [f"Ensure this value has at most {_MAX_LABEL} characters (it has {len(value)})."]
    if errors:
        raise by_hand(400, "detail", f'Invalid dataset "{file.path.relative_path}": {errors}')
    values: dict[str, Value] = {"created_by": filing.user, "auto_datetime": call.now}
    if file.version:
        values["version"] = file.version
    if file.hash:
        values["hash"] = file.hash
    if file.size is not None:
        values["file_size"] = file.size
    call.db.update("dataset", ("id", dataset["id"]), values)
    return not (file.hash and dataset["hash"] == file.hash)


def _record(db: Database, dataset: str, repository: str, path: DatasetPath, *, exists: bool, patched: bool) -> None:
    find = "SELECT id FROM file_record WHERE dataset = ? AND data_repository = ? AND relative_path = ?"
    where = path.relative_path
    row = db.one(find, dataset, repository, where)
    if row is not None:
        if patched:
            db.update("file_record", ("id", row["id"]), {"exists": exists, "json": None})
        return
    if not GOOD_PATH.fullmatch(where):
        raise by_hand(400, "detail", f"Invalid file record \"{where}\": {{'relative_path': ['Invalid path']}}")
    values: dict[str, Value] = {
        "id": new_id(),
        "dataset": dataset,
        "data_repository": repository,
        "relative_path": where,
        "exists": exists,
    }
    try:
        db.insert("file_record", values)
    except sqlite3.IntegrityError as error:
        if db.one(find, dataset, repository, where) is not None:
            return  # another request made it for the same dataset meanwhile
        message = f'A file record for "{where}" already exists on repository "{repository}" for a different dataset.'
        raise by_hand(400, "detail", message) from error
