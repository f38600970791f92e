"""POST /register-file and GET /check-protected: what a client says about its files.

Room: sandbox. Nothing here is atomic: a batch stops at its first bad file and what came before stays.
Neither endpoint asks for authentication.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from labferry.sandbox.alyx.answers import FailedError, by_hand, several
from labferry.sandbox.alyx.api import Call, Route
from labferry.sandbox.alyx.contents import content_type
from labferry.sandbox.alyx.fields import Field, anything
from labferry.sandbox.alyx.filing import (
    File,
    Filing,
    Owner,
    UnknownSubjectError,
    protected_files,
    register_file,
    session_of,
)
from labferry.sandbox.alyx.paths import DatasetPath, aggregate_path, dataset_path
from labferry.sandbox.alyx.sessions import users_of
from labferry.sandbox.alyx.store import Database
from labferry.sandbox.http import Response, json_response

_PROTECTED = "One or more datasets is protected"

Said = Any  # whatever a client sent; what does not fit fails with Python's own words, as on the real server


def register(call: Call) -> Response:
    """Answer POST /register-file."""
    said = call.data
    user = _user(call, said)
    repository = _named_repository(call.db, said)
    root = _root(said).strip("/")
    names = _names(said)
    owner = _owner(call, said, root, user)
    paths = _paths(owner, root, names)
    filing = Filing(
        user,
        owner,
        *_repositories(call.db, said, owner, repository),
        default=_truth(said, "default", otherwise=True),
        types=call.db.all("SELECT name, filename_pattern FROM dataset_type"),
    )
    if _flag(said, "check_protected", otherwise=False):
        refused = protected_files(call.db, owner, names, paths)
        if refused is not None:
            raise by_hand(403, "error", _PROTECTED, details=refused)
    answers = [_show(call, register_file(call, filing, file)) for file in _files(said, paths)]
    return json_response(201, answers)


def check_protected(call: Call) -> Response:
    """Answer GET /check-protected: always 200, the verdict is in the body; joins the user to the session."""
    said: Said = call.data or call.request.query
    user = _user(call, said)
    root = _root(said)
    names = _names(said)
    try:
        owner = _find_owner(call, said, root, user)
    except ValueError as error:
        raise FailedError(str(error)) from error
    refused = protected_files(call.db, owner, names, _paths(owner, root, names))
    if refused is None:
        return json_response(200, {"status_code": 200, "details": "None of the datasets are protected"})
    return json_response(200, {"status_code": 403, "error": _PROTECTED, "details": refused})


# --- reading the request ----------------------------------------------------------------------------------


def _user(call: Call, said: Said) -> str | None:
    name = said.get("created_by")
    if not name:
        return call.username
    if call.db.one("SELECT 1 FROM user WHERE username = ?", str(name)) is None:
        raise FailedError("LabMember matching query does not exist.")
    return str(name)


def _named_repository(db: Database, said: Said) -> str | None:
    for key in ("name", "hostname"):
        if value := said.get(key):
            found = db.column(" ".join(["SELECT name FROM repository WHERE", key, "= ?"]), str(value))
            if not found:
                raise by_hand(400, "detail", "The specified repository does not exist.")
            if len(found) > 1:
                raise several("DataRepository", len(found))
            return found[0]
    return None


def _root(said: Said) -> str:
    path = said.get("path")
    if not path:
        raise FailedError("The path argument is required.")
    return str(path.replace("\\", "/").replace("//", "/"))


def _names(said: Said) -> list[str]:
    return [name for name in _list(said, "filenames", []) if name]


def _list(said: Said, key: str, otherwise: Sequence[object]) -> list[Any]:
    """Return a list, or the parts of a comma-separated string."""
    value = said.get(key, otherwise)
    return list(value.split(",") if isinstance(value, str) else value)


def _files(said: Said, paths: Sequence[DatasetPath]) -> list[File]:
    """Return the files: as many as the shortest of the lists, without a word about the others."""
    nothing = [None] * len(paths)
    columns = zip(
        paths,
        _list(said, "hashes", nothing),
        [None if size is None else int(size) for size in _sizes(said, nothing)],
        _for_all(said, "versions", _list(said, "versions", nothing), len(paths)),
        _for_all(said, "qc", _list(said, "qc", nothing) if said.get("qc") else nothing, len(paths)),
        strict=False,
    )
    return [
        File(path, str(hash_ or ""), size, str(version or ""), str(qc or "NOT_SET"))
        for path, hash_, size, version, qc in columns
    ]


def _sizes(said: Said, nothing: Sequence[None]) -> list[Any]:
    sizes = said.get("filesizes", nothing)
    return _list(said, "filesizes", nothing) if isinstance(sizes, str | list) else [sizes]


def _for_all(said: Said, key: str, values: list[Any], count: int) -> list[Any]:
    """Return one string's value for every file."""
    return values * count if isinstance(said.get(key), str) and len(values) == 1 else values


def _flag(said: Said, key: str, *, otherwise: bool) -> bool:
    """Return a truth value; of strings only the exact `True` is true."""
    return bool(_truth(said, key, otherwise=otherwise))


def _truth(said: Said, key: str, *, otherwise: bool) -> object:
    value = said.get(key, otherwise)
    return value == "True" if isinstance(value, str) else value


# --- what the files belong to -----------------------------------------------------------------------------


def _owner(call: Call, said: Said, root: str, user: str | None) -> Owner:
    try:
        return _find_owner(call, said, root, user)
    except UnknownSubjectError as error:
        message = f'A subject with nickname "{root.split("/", maxsplit=1)[0]}" does not exist.'
        raise by_hand(400, "error", message) from error
    except ValueError as error:
        raise by_hand(400, "error", str(error)) from error


def _find_owner(call: Call, said: Said, root: str, user: str | None) -> Owner:
    kind, key = said.get("content_type"), said.get("object_id")
    if not kind and not key:
        return session_of(call, root, user)
    if not kind or not key:
        raise by_hand(400, "error", "Both content_type and object_id should be provided together.")
    if kind == "session":
        raise several("ContentType", 2)  # Django has sessions of its own; `actions.session` is clear
    try:
        model = content_type(str(kind))
    except FailedError as error:
        raise by_hand(400, "detail", f"Invalid content type: {kind}") from error
    if not model.exists(call.db, str(key)):
        raise by_hand(400, "detail", f"Invalid object ID: {key}")
    return Owner(content_type=model.name, object_id=str(key))


def _paths(owner: Owner, root: str, names: Sequence[str]) -> list[DatasetPath]:
    read = aggregate_path if owner.session is None else dataset_path
    return [read(root, name) for name in names]


def _repositories(db: Database, said: Said, owner: Owner, named: str | None) -> tuple[Sequence[str], Sequence[str]]:
    """Return where file records are made, and in which of these the files are said to exist."""
    server_only = _flag(said, "server_only", otherwise=False)
    if owner.session is not None:
        found = _repositories_of(db, _labs(db, said) or [owner.lab], server_only=server_only)
    elif named is None:
        message = "A valid repository name or hostname must be provided for non-session datasets."
        raise by_hand(400, "detail", message)
    else:
        found = []
    if named is not None and named not in found:
        found.append(named)
    exists_in = found if server_only else [named] if named else []
    return found, exists_in if _flag(said, "exists", otherwise=True) else []


def _labs(db: Database, said: Said) -> list[str]:
    """Return the labs; `projects` is another name for them."""
    labs, projects = (
        value.split(",") if isinstance(value, str) else value
        for value in (said.get("labs", []), said.get("projects", []))
    )
    named = [lab for lab in labs + projects if lab]
    for lab in named:
        if db.one("SELECT 1 FROM lab WHERE name = ?", str(lab)) is None:
            raise by_hand(400, "detail", "One or more of the specified labs do not exist.")
    return named


def _repositories_of(db: Database, labs: Sequence[str], *, server_only: bool) -> list[str]:
    query = (
        "SELECT name FROM lab_repository JOIN repository ON name = repository "
        "WHERE lab = ? AND globus_is_personal <= ? ORDER BY globus_is_personal, name"
    )
    found = [name for lab in labs for name in db.column(query, lab, 0 if server_only else 1)]
    return list(dict.fromkeys(found))


# --- the answer -------------------------------------------------------------------------------------------


def _show(call: Call, key: str) -> dict[str, object]:
    row = call.db.all("SELECT * FROM dataset WHERE id = ?", key)[0]
    records = 'SELECT id, data_repository, relative_path, "exists" FROM file_record WHERE dataset = ?'
    return {
        "id": key,
        "name": row["name"],
        "file_size": row["file_size"],
        "subject": _nickname(call.db, row["session"], row["object_id"]),
        "created_by": row["created_by"],
        "created_datetime": row["created_datetime"],
        "dataset_type": row["dataset_type"],
        "data_format": row["data_format"],
        **_belongs_to(call.db, row["session"], row["content_type"], row["object_id"]),
        "collection": row["collection"],
        "revision": row["revision"] or "",
        "default": bool(row["default_dataset"]),
        "qc": row["qc"],
        "file_records": [
            {
                "id": record["id"],
                "data_repository": record["data_repository"],
                "relative_path": record["relative_path"],
                "exists": bool(record["exists"]),
            }
            for record in call.db.all(records, key)
        ],
    }


def _nickname(db: Database, session: str | None, object_id: str | None) -> str | None:
    query = "SELECT nickname FROM subject WHERE id = coalesce((SELECT subject FROM session WHERE id = ?), ?)"
    row = db.one(query, session, object_id)
    return row[0] if row else None


def _belongs_to(db: Database, session: str | None, kind: str | None, object_id: str | None) -> dict[str, object]:
    if session is None:
        return {"content_type": kind, "object_id": object_id}
    row = db.all("SELECT number, start_time FROM session WHERE id = ?", session)[0]
    return {
        "session": session,
        "session_number": row["number"],
        "session_users": ",".join(users_of(db, session)),
        "session_start_time": row["start_time"],
    }


_SAYABLE = (
    "path filenames created_by name hostname labs projects hashes filesizes versions qc exists server_only default "
    "check_protected content_type object_id"
)
_FIELDS = tuple(Field(name, anything) for name in _SAYABLE.split())

ROUTES = (
    Route("/register-file", {"POST": register}, open=True, fields=_FIELDS),
    Route("/check-protected", {"GET": check_protected}, open=True),
)
