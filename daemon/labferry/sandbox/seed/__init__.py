"""The sandbox's inhabitants: two labs, their repositories, users and animals, and the IBL vocabulary.

Room: sandbox. Facts are JSON beside this file; `plant` puts any such facts into a store, twice if need be:
a row of the same name is brought up to date.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import cast

from labferry.sandbox.alyx.auth import add_user
from labferry.sandbox.alyx.moments import moment_text
from labferry.sandbox.alyx.store import Database, Value, new_id, to_json

Facts = Mapping[str, object]
Fact = Mapping[str, Value]

LABS = ("cortexlab", "mainenlab")
LOCAL_ENDPOINT = "7c1f6a52-9f3b-4c5e-8a41-5d2e0b6f9c37"
SERVER_ENDPOINT = "e1b0c8d4-26f7-4a39-b5ce-90d1743fa6b8"
_BIRTH = "2023-01-15"


def world() -> dict[str, object]:
    """Return the facts that every sandbox starts with, repositories excepted."""
    return {
        **cast("dict[str, object]", _read("world.json")),
        "dataset_types": _read("dataset_types.json"),
        "data_formats": _read("data_formats.json"),
    }


def repositories(watch_root: str, data_url: str) -> dict[str, object]:
    """Return each lab's two repositories: the lab server's own and the one that the archive fills.

    Parameters
    ----------
    watch_root : str
        Where the lab server's sessions are; both labs share it, and its Globus endpoint.
    data_url : str
        Of the data server, without trailing slash.
    """
    local = [
        {
            "name": f"{lab}_SR",
            "labs": [lab],
            "globus_path": f"{watch_root.rstrip('/')}/",
            "hostname": f"{lab}-sr",
            "globus_endpoint_id": LOCAL_ENDPOINT,
            "globus_is_personal": True,
        }
        for lab in LABS
    ]
    server = [
        {
            "name": f"flatiron_{lab}",
            "labs": [lab],
            "globus_path": f"/{lab}/Subjects/",
            "hostname": "data.example.org",
            "data_url": f"{data_url}/{lab}/Subjects/",
            "globus_endpoint_id": SERVER_ENDPOINT,
            "globus_is_personal": False,
        }
        for lab in LABS
    ]
    return {"repository_types": [{"name": "Fileserver"}], "repositories": [*local, *server]}


def _read(name: str) -> object:
    return json.loads(resources.files(__package__).joinpath(name).read_text("utf-8"))


# --- planting ---------------------------------------------------------------------------------------------


# Who is responsible for a subject; nobody is for the twin of one of theirs, as Alyx wants it.
_FREE_USER = """
SELECT username FROM user WHERE username = coalesce(?, 'rig_user')
AND NOT EXISTS (SELECT 1 FROM subject WHERE nickname = ? AND responsible_user = username)
"""


def plant(db: Database, facts: Facts) -> None:
    """Put facts into the store.

    Parameters
    ----------
    facts : Mapping
        Lists of objects under `labs`, `users` (with `password`, `superuser`, `public`, `labs`),
        `repository_types`, `repositories` (with `labs`), `projects` (with `users`), `procedures`,
        `locations`, `water_types`, `tags`, `dataset_types`, `data_formats`,
        `subjects` (`nickname`, `lab`, perhaps `responsible_user`, `projects`).

    Raises
    ------
    ValueError
        There is no such kind of fact, or a fact refers to what does not exist; nothing is changed.
    """
    unknown = set(facts) - set(_PLANTERS)
    if unknown:
        raise ValueError(f"unknown facts {sorted(unknown)}; known are {sorted(_PLANTERS)}")
    with db.transaction():
        for kind, planter in _PLANTERS.items():
            for fact in cast("Sequence[Fact]", facts.get(kind, ())):
                try:
                    planter(db, fact)
                except KeyError as error:
                    raise ValueError(f"{kind}: {dict(fact)} lacks {error}") from error
                except sqlite3.Error as error:
                    raise ValueError(f"{kind}: {dict(fact)}: {error}") from error


def clear(db: Database) -> None:
    """Remove everything but the users, whose passwords and tokens others hold."""
    tables = ("session", "dataset", "task", "note", "weighing", "water_administration", "insertion", "subject")
    vocabulary = ("lab", "repository", "project", "procedure", "location", "water_type", "tag", "revision")
    with db.transaction():
        for table in (*tables, *vocabulary, "dataset_type", "data_format", "repository_type"):
            db.run(" ".join(["DELETE FROM", table]))


def _upsert(db: Database, table: str, row: Fact, *, with_id: bool = True) -> None:
    known = db.column("SELECT name FROM pragma_table_info(?)", table)
    values = {name: to_json(value) if name == "json" else value for name, value in row.items() if name in known}
    if db.one(" ".join(["SELECT 1 FROM", table, "WHERE name = ?"]), row["name"]):
        db.update(table, ("name", row["name"]), values)
    else:
        db.insert(table, {**({"id": new_id()} if with_id else {}), **values})


def _link(db: Database, table: str, one: tuple[str, Value], other: str, names: object) -> None:
    for name in cast("Sequence[str]", names or ()):
        db.run(" ".join(["INSERT OR IGNORE INTO", table, f"({one[0]}, {other})", "VALUES (?, ?)"]), one[1], name)


def _lab(db: Database, fact: Fact) -> None:
    _upsert(db, "lab", fact)


def _user(db: Database, fact: Fact) -> None:
    name = str(fact["username"])
    if "password" in fact or not db.one("SELECT 1 FROM user WHERE username = ?", name):
        password = str(fact.get("password") or secrets.token_urlsafe(16))
        add_user(
            db,
            name,
            password,
            superuser=bool(fact.get("superuser")),
            public=bool(fact.get("public")),
            email=str(fact.get("email") or ""),
        )
    _link(db, "user_lab", ("user", name), "lab", fact.get("labs"))


def _repository(db: Database, fact: Fact) -> None:
    _upsert(db, "repository", {"repository_type": "Fileserver", **fact})
    _link(db, "lab_repository", ("repository", fact["name"]), "lab", fact.get("labs"))


def _project(db: Database, fact: Fact) -> None:
    _upsert(db, "project", fact)
    _link(db, "project_user", ("project", fact["name"]), "user", fact.get("users"))


def _revision(db: Database, fact: Fact) -> None:
    _upsert(db, "revision", {"created_datetime": moment_text(0), **fact})


def _subject(db: Database, fact: Fact) -> None:
    if db.one("SELECT 1 FROM lab WHERE name = ?", fact["lab"]) is None:
        known = ", ".join(db.column("SELECT name FROM lab ORDER BY name"))
        raise ValueError(f"subject {fact['nickname']}: no lab {fact['lab']!r}; there are {known}")
    row = db.one("SELECT id FROM subject WHERE nickname = ? AND lab = ?", fact["nickname"], fact["lab"])
    key = row[0] if row else new_id()
    if row is None:
        user = fact.get("responsible_user")
        responsible = db.one(_FREE_USER, user, fact["nickname"])
        values = {
            "id": key,
            "nickname": fact["nickname"],
            "lab": fact["lab"],
            "responsible_user": responsible[0] if responsible else None,
            "birth_date": fact.get("birth_date", _BIRTH),
            "species": fact.get("species", "Laboratory mouse"),
            "sex": fact.get("sex", "M"),
        }
        db.insert("subject", values)
    _link(db, "subject_project", ("subject", key), "project", fact.get("projects"))


def _plain(table: str, *, with_id: bool = True) -> Callable[[Database, Fact], None]:
    return lambda db, fact: _upsert(db, table, fact, with_id=with_id)


_PLANTERS: Mapping[str, Callable[[Database, Fact], None]] = {
    "labs": _lab,
    "users": _user,
    "repository_types": _plain("repository_type", with_id=False),
    "repositories": _repository,
    "projects": _project,
    "procedures": _plain("procedure"),
    "locations": _plain("location", with_id=False),
    "water_types": _plain("water_type"),
    "tags": _plain("tag"),
    "revisions": _revision,
    "dataset_types": _plain("dataset_type"),
    "data_formats": _plain("data_format"),
    "subjects": _subject,
}
"""In the order in which they refer to each other."""
