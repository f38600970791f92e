"""The fields of a session under the names that Alyx gives them.

Room: sessions. Pure: mappings that can be sent as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, time

from labferry.sessions.record.record import SessionRecord

# What only a person can know about a session without a task, and must have typed in (REG-06).
TYPED_IN = ("location", "start_time", "lab", "users")


def create_body(
    record: SessionRecord, *, lab: str, users: Sequence[str], projects: Sequence[str], own: Mapping[str, object]
) -> dict[str, object]:
    """Return the body of the `POST /sessions` that creates a session.

    Parameters
    ----------
    lab : str
        The subject's lab.
    users : sequence of str
        Those that Alyx knows; empty is whoever sends it.
    projects : sequence of str
        Of the subject, for a session that names none.
    own : mapping
        Further fields of `json`, which say whose session it is.
    """
    start = record.start_time or datetime.combine(record.date, time())  # Alyx would take the time of the request
    return {
        "subject": record.subject,
        "lab": lab,
        "users": list(users),
        "location": record.location,
        "projects": list(record.projects or projects),
        "procedures": list(record.procedures),
        "type": record.type,
        "task_protocol": record.task_protocol,
        "number": record.number,
        "start_time": start.isoformat(),
        "end_time": None if record.end_time is None else record.end_time.isoformat(),
        "n_trials": record.n_trials,
        "n_correct_trials": record.n_correct_trials,
        "narrative": record.narrative or "",  # null is refused
        "json": {**record.json, **own},
    }


def wanted_fields(record: SessionRecord, *, users: Sequence[str], projects: Sequence[str]) -> dict[str, object]:
    """Return the fields that a session which is already there should have; what is not known is left out.

    `changes` says which of them may be written.
    """
    body = create_body(record, lab="", users=users, projects=projects, own={})
    if record.start_time is None:
        del body["start_time"]
    fixed = {"subject", "lab", "number", "type"}
    return {key: value for key, value in body.items() if key not in fixed and value not in (None, "", [], {})}


def weighing_body(record: SessionRecord, index: int, user: str) -> dict[str, object]:
    """Return the body of a `POST /weighings`; without a user it is whoever sends it."""
    weight = record.weights[index]
    body: dict[str, object] = {
        "subject": record.subject,
        "date_time": weight.date_time.isoformat(),
        "weight": weight.weight,
    }
    return {**body, "user": user} if user else body


def water_body(record: SessionRecord, index: int, user: str, session_id: str) -> dict[str, object]:
    """Return the body of a `POST /water-administrations`; without a user it is whoever sends it."""
    water = record.waters[index]
    body: dict[str, object] = {
        "subject": record.subject,
        "date_time": water.date_time.isoformat(),
        "water_administered": water.volume,
        "water_type": water.water_type,
        "session": session_id,
        "adlib": False,
    }
    return {**body, "user": user} if user else body


def not_typed_in(theirs: Mapping[str, object]) -> tuple[str, ...]:
    """Return what a session without a task still lacks in Alyx, of what only a person can know."""
    return tuple(field for field in TYPED_IN if not theirs.get(field))
